"""Half of a data set, by classes or by samples (Appendix D)."""

import torch

from lls.data.in_memory import make_generator
from lls.data.sources import Images
from lls.errors import UserError


def num_classes_of_subset(num_classes: int, subset: str | None) -> int:
    """How many classes a subset leaves: the first half of them, rounded down, for `classes`. UserError where that is
    one, which there is nothing to tell from."""
    kept = num_classes // 2 if subset == "classes" else num_classes
    if kept < 2:
        raise UserError(f"dataset.subset=classes: half of {num_classes} classes is {kept}; it takes 4 or more")
    return kept


def select_subset(images: Images, subset: str | None, seed: int) -> Images:
    """`classes`: the images of the first half of the classes, in training and test. `samples`: half of every class's
    training images, rounded up, drawn by `seed` alone; the test images stay."""
    if subset is None:
        return images
    if subset == "classes":
        k = num_classes_of_subset(len(images.classes), subset)
        train, test = (images.train_y < k, images.test_y < k)
        parts = (images.train_x[train], images.train_y[train], images.test_x[test], images.test_y[test])
        return Images(*parts, images.classes[:k])
    order = torch.randperm(len(images.train_y), generator=make_generator(seed, -1))
    place = torch.empty_like(order)  # the place of an image among those of its class, in that order
    for label in images.train_y.unique():
        of_class = order[images.train_y[order] == label]
        place[of_class] = torch.arange(len(of_class))
    counts = images.train_y.bincount(minlength=len(images.classes))
    kept = place < (counts[images.train_y] + 1) // 2
    return images._replace(train_x=images.train_x[kept], train_y=images.train_y[kept])
