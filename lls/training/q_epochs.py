"""The file q_epochs.safetensors of a run: its Q after selected epochs."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lls.files import quarantine, write_atomic

Q_EPOCHS = "q_epochs.safetensors"
MAX_EPOCHS = 50
MAX_BYTES = 16 * 2**20  # fewer epochs are recorded if K is above 289


class QEpochs(NamedTuple):
    """The Q of a run after M of its epochs.

    epochs: M numbers of epochs, counted from 1, in ascending order.
    logits: `[M, K, K]`, float32; the softmax of the last dimension gives the probabilities Q_y.
    classes: the names of the K classes."""

    epochs: list[int]
    logits: Tensor
    classes: list[str]


class QRecorder:
    """Record Q after selected epochs of a run, evenly spaced, the first and the last included.

    The file is complete after each recorded epoch. It must be written before the checkpoint of its epoch, so that a run
    that is resumed finds the Q of all selected epochs before. If the file is missing, because an older version started
    the run, or broken, the record begins after the checkpoint."""

    def __init__(self, path: Path, classes: list[str], epochs: int, epochs_done: int):
        """epochs: of the whole run. epochs_done: of the checkpoint; later epochs in the file are dropped."""
        self.path, self.classes = path, classes
        self.selected = select_epochs(epochs, len(classes))
        self.recorded: dict[int, Tensor] = {}
        if epochs_done and path.exists():
            try:
                before = load_q_epochs(path)
            except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
                quarantine(path, error)
            else:
                self.recorded = {e: q for e, q in zip(before.epochs, before.logits, strict=True) if e <= epochs_done}

    def record(self, epoch: int, q_logits: Tensor | None) -> None:
        """Write Q after an epoch, counted from 1, if the epoch is selected. Does nothing if q_logits is None."""
        if q_logits is None or epoch not in self.selected:
            return
        self.recorded[epoch] = q_logits.detach().to("cpu", torch.float32, copy=True)
        tensors = {"epochs": torch.tensor([*self.recorded]), "q_logits": torch.stack([*self.recorded.values()])}
        metadata = {"q": json.dumps({"classes": self.classes})}
        write_atomic(self.path, lambda temporary: save_file(tensors, temporary, metadata))


def select_epochs(epochs: int, num_classes: int) -> set[int]:
    """Return at most MAX_EPOCHS evenly spaced epochs of 1 to `epochs`, the first and the last included.

    They are fewer, but at least those two, if the Q of K classes at so many epochs takes more than MAX_BYTES."""
    count = max(2, min(epochs, MAX_EPOCHS, MAX_BYTES // (4 * num_classes**2)))
    return {1 + round(i * (epochs - 1) / (count - 1)) for i in range(count)}


def load_q_epochs(path: Path) -> QEpochs:
    """Read a file that QRecorder wrote.

    Raises OSError, SafetensorError, KeyError, TypeError or ValueError for any other file."""
    with safe_open(path, "pt") as file:
        classes = json.loads(file.metadata()["q"])["classes"]
        return QEpochs(file.get_tensor("epochs").tolist(), file.get_tensor("q_logits"), classes)
