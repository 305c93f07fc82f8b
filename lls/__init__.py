"""Learnable Label Smoothing: the paper's experiments as a codebase. `python train.py --help` is the way in."""

__version__ = "0.1.0"
