"""Learnable Label Smoothing: code that reproduces the experiments of the paper. Start with `python train.py --help`.

In other people's code:

- The losses are modules that are called as torch.nn.CrossEntropyLoss is: `LLS(num_classes=10)(logits, labels)`.
- `check_q` tells whether an optimizer trains the Q of a loss.
- `load_q` and `save_q` read and write a learned Q, which is a `QMatrix`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # __getattr__, at the end of this file, does the same when a name is used
    from lls.methods.base import Method as Method
    from lls.methods.check_q import check_q as check_q
    from lls.methods.flsd import FLSD as FLSD
    from lls.methods.focal import Focal as Focal
    from lls.methods.kd import KD as KD
    from lls.methods.lls import LLS as LLS
    from lls.methods.lls_st import LLSST as LLSST
    from lls.methods.lls_topn import LLSTopN as LLSTopN
    from lls.methods.ls import LS as LS
    from lls.methods.lspp import LSPP as LSPP
    from lls.methods.ols import OLS as OLS
    from lls.methods.onehot import OneHot as OneHot
    from lls.methods.tfkd_reg import TFKDReg as TFKDReg
    from lls.methods.tfkd_self import TFKDSelf as TFKDSelf
    from lls.methods.zipf import Zipf as Zipf
    from lls.qmatrix import QMatrix as QMatrix
    from lls.qmatrix import load_q as load_q
    from lls.qmatrix import save_q as save_q

__version__ = "0.1.0"
_MODULES = {
    "FLSD": "lls.methods.flsd",
    "Focal": "lls.methods.focal",
    "KD": "lls.methods.kd",
    "LLS": "lls.methods.lls",
    "LLSST": "lls.methods.lls_st",
    "LLSTopN": "lls.methods.lls_topn",
    "LS": "lls.methods.ls",
    "LSPP": "lls.methods.lspp",
    "Method": "lls.methods.base",
    "OLS": "lls.methods.ols",
    "OneHot": "lls.methods.onehot",
    "QMatrix": "lls.qmatrix",
    "TFKDReg": "lls.methods.tfkd_reg",
    "TFKDSelf": "lls.methods.tfkd_self",
    "Zipf": "lls.methods.zipf",
    "check_q": "lls.methods.check_q",
    "load_q": "lls.qmatrix",
    "save_q": "lls.qmatrix",
}
__all__ = [*_MODULES]


if not TYPE_CHECKING:  # a type checker would take any name of a module with __getattr__ for a public one

    def __getattr__(name: str):
        """Import a public name when it is first used. It needs PyTorch, whose import takes seconds."""
        if name not in _MODULES:
            raise AttributeError(f"module 'lls' has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
