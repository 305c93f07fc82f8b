"""Data sets as published: their archives and checksums, and the layout of their image files."""
