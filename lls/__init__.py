"""Learnable Label Smoothing: code that reproduces the experiments of the paper. Start with `python train.py --help`.

`lls.load_q` and `lls.save_q` read and write a learned Q, which is an `lls.QMatrix`.
"""

__version__ = "0.1.0"
__all__ = ["QMatrix", "load_q", "save_q"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'lls' has no attribute {name!r}")
    from lls import qmatrix  # imports torch, which configurations do not need

    return getattr(qmatrix, name)
