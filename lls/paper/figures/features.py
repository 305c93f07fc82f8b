"""What the figures need of a trained network: features, predictions, and the distances between its classes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lls.data.in_memory import TestBatches
from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.device import select_device
from lls.files import write_atomic
from lls.networks.models import Network
from lls.runs.run import Run
from lls.training.build import build_network
from lls.training.checkpoint import load
from lls.training.evaluate import predict

CLUSTERS = "clusters.json"


class Clusters(NamedTuple):
    """Cosine distances in the features of the *training* images (Section 5.2)."""

    classes: list[str]
    distances: np.ndarray  # [K, K], 1 - cos between the centres of two classes
    spread: np.ndarray  # [K], mean of 1 - cos between an image of the class and the class centre


class Embedded(NamedTuple):
    """Features of images without augmentation."""

    features: np.ndarray  # [N, D], float32
    y: np.ndarray  # [N], int64
    classes: list[str]


def embed_images(run: Run, split: str) -> Embedded:
    """Compute the penultimate features of the `train` or `test` images with the weights in the run's last.pt."""
    with _open_run(run, split) as (net, images, classes), torch.inference_mode():
        batches = [(net.embed(x).float().cpu(), y.cpu()) for x, y in images]
    features, y = map(torch.cat, zip(*batches, strict=True))
    return Embedded(features.numpy(), y.numpy(), classes)


def predict_images(run: Run, split: str) -> tuple[Tensor, Tensor]:
    """Compute the logits `[N, K]` and labels `[N]` of the `train` or `test` images with the weights in last.pt."""
    with _open_run(run, split) as (net, images, _):
        return predict(net, images, run.cfg.machine.precision)


def read_classifier(run: Run) -> tuple[np.ndarray, list[str]]:
    """Read the weight `[K, D]` of the last layer from the run's last.pt, and the class names."""
    state = load(run)
    return state["network"]["classifier.weight"].float().numpy(), state["classes"]


@contextmanager
def _open_run(run: Run, split: str) -> Iterator[tuple[Network, TestBatches, list[str]]]:
    """Load the network of last.pt in eval mode, and open the images of its data set, with their classes."""
    cfg = run.cfg
    device = select_device(cfg.machine.device)
    source, state = find_source(cfg.dataset, Path(cfg.machine.data)), load(run)
    net = build_network(cfg.network, len(state["classes"]), cfg.dataset.channels, cfg.dataset.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last).eval()
    with make_loaders(cfg, source, device) as images:
        yield net, images.eval_batches(split), images.classes


def clusters(run: Run) -> Clusters:
    """Return the distances between the classes of a finished run, computed once and saved in its clusters.json."""
    if (saved := read_clusters(run)) is not None:
        return saved
    measured = measure(embed_images(run, "train"))
    content = {
        "finished": run.result.get("finished"),
        "classes": measured.classes,
        "spread": [round(value, 5) for value in measured.spread.tolist()],
        "distances": [[round(value, 5) for value in row] for row in measured.distances.tolist()],
    }
    text = json.dumps(content) + "\n"
    write_atomic(run.folder / CLUSTERS, lambda temporary: temporary.write_text(text))
    return read_clusters(run)


def read_clusters(run: Run) -> Clusters | None:
    """Read a run's clusters.json; None if there is none, or if the run was trained again since."""
    path = run.folder / CLUSTERS
    if run.result is None or not path.exists():
        return None
    content = json.loads(path.read_text())
    if content.get("finished") != run.result.get("finished"):
        return None
    return Clusters(content["classes"], np.array(content["distances"]), np.array(content["spread"]))


def measure(embedded: Embedded) -> Clusters:
    """Compute class centres, their distances and the spread of each class.

    A centre is the mean of the features, which are not normalized first. The distances of a class without images
    are nan."""
    k = len(embedded.classes)
    features = embedded.features.astype(np.float64)
    sums, counts = np.zeros((k, features.shape[1])), np.bincount(embedded.y, minlength=k)
    np.add.at(sums, embedded.y, features)
    with np.errstate(invalid="ignore", divide="ignore"):
        centres = _normalize(sums / counts[:, None])
        to_centre = 1 - (_normalize(features) * centres[embedded.y]).sum(1)
        spread = np.bincount(embedded.y, np.nan_to_num(to_centre), minlength=k) / counts
    distances = 1 - centres @ centres.T
    np.fill_diagonal(distances, 0)
    return Clusters(embedded.classes, distances.clip(min=0), spread)


def row_normalised(distances: np.ndarray) -> np.ndarray:
    """Divide each row by its sum: cd(i, j) / Σ_j cd(i, j) (Section 5.2). The result is not symmetric."""
    return distances / distances.sum(1, keepdims=True)


def variation(matrix: np.ndarray) -> float:
    """Compute the coefficient of variation of the entries off the diagonal: 0 if all distances are equal."""
    off_diagonal = matrix[~np.eye(len(matrix), dtype=bool)]
    return float(off_diagonal.std() / off_diagonal.mean())


def _normalize(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
