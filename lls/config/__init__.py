"""Configurations: Hydra composes them from configs/, and they are checked before a run starts. Imports no torch."""
