"""A run: its identity, its folder, and what the files in it hold."""
