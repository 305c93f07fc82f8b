"""Half of a data set, by classes or by samples (Appendix D)."""

import torch

from lls.data.in_memory import make_generator
from lls.data.sources import Images
from lls.errors import UserError


def num_classes_of_subset(num_classes: int, subset: str | None) -> int:
    """Return the number of classes of a subset: half of them, rounded down, for `classes`; else all.

    Raises UserError if that is below two.
    """
    selected = num_classes // 2 if subset == "classes" else num_classes
    if selected < 2:
        raise UserError(f"dataset.subset=classes: needs 4 classes or more, not {num_classes}")
    return selected


def select_subset(images: Images, subset: str | None, seed: int) -> Images:
    """Return a subset of a data set.

    `classes`: the training and test images of the first half of the classes. `samples`: half of each class's training
    images, rounded up, drawn by `seed`, and all test images.
    """
    if subset is None:
        return images
    if subset == "classes":
        k = num_classes_of_subset(len(images.classes), subset)
        train, test = (images.train_y < k, images.test_y < k)
        parts = (images.train_x[train], images.train_y[train], images.test_x[test], images.test_y[test])
        return Images(*parts, images.classes[:k])
    order = torch.randperm(len(images.train_y), generator=make_generator(seed, -1))
    rank = torch.empty_like(order)  # of an image within its class, in that order
    for label in images.train_y.unique():
        indices = order[images.train_y[order] == label]
        rank[indices] = torch.arange(len(indices))
    counts = images.train_y.bincount(minlength=len(images.classes))
    selected = rank < (counts[images.train_y] + 1) // 2
    return images._replace(train_x=images.train_x[selected], train_y=images.train_y[selected])
