"""A run: its id, its folder, and the files in the folder."""
