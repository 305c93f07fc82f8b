"""Losses with their gradients, usable without the rest of the package."""
