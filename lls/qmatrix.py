"""The learned Q as a file, as a picture, and as a thing to pass on."""

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
    """Q and where it comes from. `logits`: `[K, K]`, row: true class; softmax each row for the probabilities Q_y."""

    logits: Tensor
    classes: list[str]
    about: dict[str, str]  # dataset, network, method, alpha, run

    def restrict(self, classes: Sequence[str]) -> "QMatrix":
        """The rows and columns of `classes`, in their order: the softmax is then over them alone (Appendix D).
        UserError if Q does not know one of them."""
        at = {name: index for index, name in enumerate(self.classes)}
        unknown = [name for name in classes if name not in at]
        if unknown:
            shown = f"{', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}"
            own = ", ".join(self.classes[:3])
            raise UserError(f"this Q is of other classes: {len(self.classes)} ({own} ...), and not {shown}")
        index = torch.tensor([at[name] for name in classes])
        return self._replace(logits=self.logits[index][:, index], classes=list(classes))


def save_q(path: Path | str, q: QMatrix) -> None:
    """Write Q as safetensors: one tensor `q_logits`; class names and `about` as JSON under the one metadata key `q`
    (safetensors writes several keys in random order, and equal matrices should be equal files)."""
    metadata = {"q": json.dumps({"classes": q.classes, **q.about}, sort_keys=True)}
    tensors = {"q_logits": q.logits.detach().cpu().float().contiguous()}
    write_atomic(Path(path), lambda temporary: save_file(tensors, temporary, metadata))


def load_q(path: Path | str) -> QMatrix:
    """Read what save_q wrote. OSError, SafetensorError, KeyError or TypeError for a file that is something else."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["q"])
        return QMatrix(file.get_tensor("q_logits"), about.pop("classes"), about)


def draw_q(path: Path, q: QMatrix) -> None:
    """A heatmap of softmax(Q) as PNG: true class down, the class its probability goes to across (Figure 3). Values are
    printed up to 12 classes; names shrink with their number."""
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
    upright = 90 if k > 12 or max(map(len, q.classes)) > 3 else 0
    axes.set_xticks(range(k), q.classes, rotation=upright, fontsize=font, parse_math=False)
    axes.set_yticks(range(k), q.classes, fontsize=font, parse_math=False)
    axes.set_ylabel("true class y")
    axes.set_xlabel("class j")
    named = [q.about[key] for key in ("dataset", "network", "method") if key in q.about]
    axes.set_title(" / ".join(named) + (f", α = {q.about['alpha']}" if "alpha" in q.about else ""))
    if k <= 12:
        middle = probabilities.max() / 2
        for (row, column), value in np.ndenumerate(probabilities):
            colour = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, label="$Q_{yj}$", shrink=0.8)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))
