"""The learned Q: a class with its logits and class names, its file format, and a heatmap of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lls.errors import UserError
from lls.files import write_atomic


class QMatrix(NamedTuple):
    """The learned matrix Q of a run (Eqs. 4-5). The softmax of row y gives the probabilities Q_y.

    logits: `[K, K]`, float; rows are true classes.
    classes: the names of the K classes.
    about: where Q comes from, under keys of your choice; a run writes dataset, network, method, its alpha, and run.
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


def draw_q(path: Path, q: QMatrix) -> None:
    """Draw softmax(Q) as a heatmap and save it as PNG: rows are true classes y, columns are classes j (Figure 3).

    Up to 12 classes, the values are printed in the cells. Class names are smaller the more classes there are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    k = len(q.classes)
    probabilities = torch.softmax(q.logits.double(), -1).numpy()
    side = min(4.2 + 0.12 * k, 24)
    font = min(9.0, 72 * 0.8 * (side - 1.5) / k)
    figure = Figure((side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(probabilities, cmap="cividis", vmin=0)
    rotation = 90 if k > 12 or max(map(len, q.classes)) > 3 else 0
    axes.set_xticks(range(k), q.classes, rotation=rotation, fontsize=font, parse_math=False)
    axes.set_yticks(range(k), q.classes, fontsize=font, parse_math=False)
    axes.set_ylabel("true class y")
    axes.set_xlabel("class j")
    title = " / ".join(q.about[key] for key in ("dataset", "network", "method") if key in q.about)
    axes.set_title(title + (f", α = {q.about['alpha']}" if "alpha" in q.about else ""))
    if k <= 12:
        middle = probabilities.max() / 2
        for (row, column), value in np.ndenumerate(probabilities):
            colour = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, label="$Q_{yj}$", shrink=0.8)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))
