"""Whether a data set is what it should be: the images of every split and class, and that each can be decoded."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lls.data.download import published
from lls.data.download.published import Split
from lls.errors import UserError


def check_counts(name: str, train_y: Sequence[int], test_y: Sequence[int], classes: Sequence[str]) -> None:
    """UserError unless both splits have the images a class that are published for `name`, and no empty class."""
    for split, labels in (("training", train_y), ("test", test_y)):
        expected = getattr(published.COUNTS[name], split.removesuffix("ing"))
        _check_split(split, Counter(map(int, labels)), classes, expected)


def _check_split(split: str, counts: Counter, classes: Sequence[str], expected: Split) -> None:
    if not counts:
        raise UserError(f"there is no {split} image at all")
    if odd := sorted(set(counts) - set(range(len(classes)))):
        raise UserError(f"a {split} image has the label {odd[0]}; they are 0 to {len(classes) - 1}")
    for label, name in enumerate(classes):
        found, each = counts[label], expected.each
        wanted = each[label] if isinstance(each, tuple) else each
        if not found:
            raise UserError(f"class {label} ({name}) has no {split} image")
        if isinstance(wanted, int) and found != wanted:
            raise UserError(f"class {label} ({name}) has {found} {split} images, not {wanted}")
        if isinstance(wanted, range) and found not in wanted:
            raise UserError(f"class {label} ({name}) has {found} {split} images, not {wanted[0]} to {wanted[-1]}")
    if expected.total not in (None, counts.total()):
        raise UserError(f"there are {counts.total():,} {split} images, not {expected.total:,}")


def unreadable_images(paths: Sequence[str]) -> list[str]:
    """Those of `paths` that can't be decoded, each with the reason."""
    from PIL import Image
    from tqdm import tqdm

    def reason(path: str) -> str | None:
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return f"{path} can't be read as an image ({error})"
        return None

    stopped = threading.Event()
    with ThreadPoolExecutor() as pool:
        try:
            todo = pool.map(lambda path: None if stopped.is_set() else reason(path), paths)
            found = [r for r in tqdm(todo, "decoding", len(paths), unit=" images", leave=False, disable=None) if r]
        except BaseException:
            stopped.set()  # the pool would finish all of it before Ctrl-C is heard
            raise
    return found
