"""Check a data set: the number of images of each split and class, and that each image can be decoded."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lls.data.download import published
from lls.data.download.published import Split
from lls.errors import UserError


def check_counts(name: str, train_y: Sequence[int], test_y: Sequence[int], classes: Sequence[str]) -> None:
    """Raise UserError unless both splits have the published numbers of images and no class is empty.

    name: a data set of published.COUNTS. train_y, test_y: the labels. classes: the class names."""
    for split, labels in (("training", train_y), ("test", test_y)):
        expected = getattr(published.COUNTS[name], split.removesuffix("ing"))
        _check_split(split, Counter(map(int, labels)), classes, expected)


def _check_split(split: str, counts: Counter, classes: Sequence[str], expected: Split) -> None:
    if not counts:
        raise UserError(f"there are no {split} images")
    if invalid := sorted(set(counts) - set(range(len(classes)))):
        raise UserError(f"a {split} image has the label {invalid[0]}; labels are 0 to {len(classes) - 1}")
    for label, name in enumerate(classes):
        count, per_class = counts[label], expected.per_class
        target = per_class[label] if isinstance(per_class, tuple) else per_class
        if not count:
            raise UserError(f"class {label} ({name}) has no {split} image")
        if isinstance(target, int) and count != target:
            raise UserError(f"class {label} ({name}) has {count} {split} images, not {target}")
        if isinstance(target, range) and count not in target:
            raise UserError(f"class {label} ({name}) has {count} {split} images, not {target[0]} to {target[-1]}")
    if expected.total not in (None, counts.total()):
        raise UserError(f"there are {counts.total():,} {split} images, not {expected.total:,}")


def unreadable_images(paths: Sequence[str]) -> list[str]:
    """Decode all images. Returns one message for each that can't be decoded, with the path and the reason."""
    from PIL import Image
    from tqdm import tqdm

    def decoding_error(path: str) -> str | None:
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return f"{path} can't be read as an image ({error})"
        return None

    cancelled = threading.Event()
    with ThreadPoolExecutor() as pool:
        try:
            errors = pool.map(lambda path: None if cancelled.is_set() else decoding_error(path), paths)
            return [e for e in tqdm(errors, "decoding", len(paths), unit=" images", leave=False, disable=None) if e]
        except BaseException:
            cancelled.set()  # otherwise the pool decodes all images before Ctrl-C takes effect
            raise
