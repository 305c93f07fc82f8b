"""Learnable Label Smoothing: the paper's experiments as a codebase. `python train.py --help` is the way in.

`lls.load_q` and `lls.save_q` read and write a learned Q.
"""

__version__ = "0.1.0"
__all__ = ["QMatrix", "load_q", "save_q"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'lls' has no attribute {name!r}")
    from lls import qmatrix  # imports torch, which a configuration does without

    return getattr(qmatrix, name)
