"""Configurations: composed from configs/ by Hydra and checked before anything runs. Nothing here imports torch."""
