"""Paths of the repository that tests use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
