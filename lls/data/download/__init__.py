"""Data sets as they are published: archives, checksums, and one layout of image files each."""
