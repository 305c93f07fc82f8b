"""The learned Q: a class with its logits and class names, its file format, and a heatmap of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lls.errors import UserError
from lls.files import write_atomic

TITLE_KEYS = {"alpha": "α", "budget": "budget"}  # keys of `about` in the title of a heatmap


class QMatrix(NamedTuple):
    """The learned matrix Q of a run (Eqs. 4-5). The softmax of row y gives the probabilities Q_y.

    logits: `[K, K]`, float; rows are true classes.
    classes: the names of the K classes.
    about: where Q comes from, under keys of your choice; a run writes dataset, network, method, its alpha, and
        run; a short run also its budget.
    """

    logits: Tensor
    classes: list[str]
    about: dict[str, str]

    def restrict(self, classes: Sequence[str]) -> "QMatrix":
        """Return the Q of a subset of the classes, in the given order. A row's softmax is over them alone (Appendix D).

        Raises UserError for a class that Q does not have."""
        positions = {name: index for index, name in enumerate(self.classes)}
        unknown = [name for name in classes if name not in positions]
        if unknown:
            missing = f"{', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}"
            first = ", ".join(self.classes[:3])
            raise UserError(f"this Q has other classes: {len(self.classes)} ({first} ...), not {missing}")
        index = torch.tensor([positions[name] for name in classes])
        return self._replace(logits=self.logits[index][:, index], classes=list(classes))


def save_q(path: Path | str, q: QMatrix) -> None:
    """Write Q as a safetensors file with one tensor, `q_logits`.

    Class names and `about` are JSON under the one metadata key `q`. safetensors writes several keys in random order,
    and equal matrices should give equal files. Raises ValueError if there is not one name per row and column."""
    k = len(q.classes)
    if tuple(q.logits.shape) != (k, k):
        raise ValueError(f"Q has shape {[*q.logits.shape]}, and {k} classes have names: must be {k} x {k}")
    metadata = {"q": json.dumps({"classes": q.classes, **q.about}, sort_keys=True)}
    tensors = {"q_logits": q.logits.detach().cpu().float().contiguous()}
    write_atomic(Path(path), lambda temporary: save_file(tensors, temporary, metadata))


def load_q(path: Path | str) -> QMatrix:
    """Read a file that save_q wrote. Raises OSError, SafetensorError, KeyError or TypeError for any other file."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["q"])
        return QMatrix(file.get_tensor("q_logits"), about.pop("classes"), about)


def draw_q(path: Path, q: QMatrix, superclasses: Sequence[str] | None = None) -> None:
    """Draw softmax(Q) as a heatmap and save it as PNG: rows are true classes y, columns are classes j (Figure 3).

    lls/heatmap.py says which colours it has, and when values and class names are left out.

    superclasses: the superclass of each class. They are named if the classes are too many."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from lls.heatmap import MAX_NAMED_CLASSES, colour_bar, q_heatmap

    side = 4.2 + 0.12 * len(q.classes) if len(q.classes) <= MAX_NAMED_CLASSES else 7.2
    figure = Figure((side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    probabilities = torch.softmax(q.logits.double(), -1).numpy()
    colour_bar(axes, q_heatmap(axes, probabilities, q.classes, superclasses, font_size=9), "$Q_{yj}$", font_size=8)
    axes.set_ylabel("true class y")
    axes.set_xlabel("class j")
    title = " / ".join(q.about[key] for key in ("dataset", "network", "method") if key in q.about)
    axes.set_title(title + "".join(f", {name} = {q.about[key]}" for key, name in TITLE_KEYS.items() if key in q.about))
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130, bbox_inches="tight"))
