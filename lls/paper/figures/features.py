"""Penultimate features of a trained network, and how its classes lie in them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lls.data.loaders import make_loaders
from lls.data.sources import find_source
from lls.device import select_device
from lls.files import write_atomic
from lls.runs.run import Run
from lls.training.build import build_network
from lls.training.checkpoint import load

CLUSTERS = "clusters.json"


class Clusters(NamedTuple):
    """Of the *training* images' features: distances `[K, K]`, 1 - cos between the centres of two classes (Section 5.2);
    spread `[K]`, the mean of 1 - cos between an image of the class and its centre."""

    classes: list[str]
    distances: np.ndarray
    spread: np.ndarray


class Embedded(NamedTuple):
    """Features float32 `[N, D]` of images without augmentation, labels int64 `[N]`, class names."""

    features: np.ndarray
    y: np.ndarray
    classes: list[str]


def embed_images(run: Run, split: str) -> Embedded:
    """The penultimate features of a run's `train` or `test` images, by the weights in its last.pt."""
    cfg = run.cfg
    device = select_device(cfg.machine.device)
    source, state = find_source(cfg.dataset, Path(cfg.machine.data)), load(run)
    net = build_network(cfg.network, len(state["classes"]), cfg.dataset.channels, cfg.dataset.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last).eval()
    with make_loaders(cfg, source, device) as images, torch.inference_mode():
        batches = [(net.embed(x).float().cpu(), y.cpu()) for x, y in images.eval_batches(split)]
    features, y = map(torch.cat, zip(*batches, strict=True))
    return Embedded(features.numpy(), y.numpy(), images.classes)


def clusters(run: Run) -> Clusters:
    """How the classes of a finished run lie: read from its clusters.json, which is written where it is not there."""
    if (known := read_clusters(run)) is not None:
        return known
    measured = measure(embed_images(run, "train"))
    rounded = [[round(value, 5) for value in row] for row in measured.distances.tolist()]
    content = {
        "finished": run.result.get("finished"),
        "classes": measured.classes,
        "spread": [round(value, 5) for value in measured.spread.tolist()],
    }
    text = json.dumps(content | {"distances": rounded}) + "\n"
    write_atomic(run.folder / CLUSTERS, lambda temporary: temporary.write_text(text))
    return read_clusters(run)


def read_clusters(run: Run) -> Clusters | None:
    """What `clusters` left in a run's folder; None if there is nothing, or the run was trained again since."""
    path = run.folder / CLUSTERS
    known = json.loads(path.read_text()) if path.exists() else {}
    if run.result is None or known.get("finished") != run.result.get("finished"):
        return None
    return Clusters(known["classes"], np.array(known["distances"]), np.array(known["spread"]))


def measure(of: Embedded) -> Clusters:
    """Centres are means of the features as they are; a class without an image has distances of nan."""
    k = len(of.classes)
    sums, counts = np.zeros((k, of.features.shape[1])), np.bincount(of.y, minlength=k)
    np.add.at(sums, of.y, of.features.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        centres = _unit(sums / counts[:, None])
        apart = 1 - (_unit(of.features.astype(np.float64)) * centres[of.y]).sum(1)
        spread = np.bincount(of.y, np.nan_to_num(apart), minlength=k) / counts
    distances = 1 - centres @ centres.T
    np.fill_diagonal(distances, 0)
    return Clusters(of.classes, distances.clip(min=0), spread)


def row_normalised(distances: np.ndarray) -> np.ndarray:
    """cd(i, j) / Σ_j cd(i, j) (Section 5.2): rows sum to 1, so the matrix is not symmetric."""
    return distances / distances.sum(1, keepdims=True)


def variation(matrix: np.ndarray) -> float:
    """The coefficient of variation of a matrix off its diagonal: 0 where all classes are equally far apart."""
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    return float(off.std() / off.mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
