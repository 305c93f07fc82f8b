"""Fetch, unpack and check data sets: python scripts/prepare_data.py NAME... [--data data]

NAME is a data set, or
    all       every data set; those that have to be asked for are unpacked if their archives are there
    check     look at everything that is there, and change nothing
    weights   the networks' ImageNet weights, to data/weights

imagenet100 is whichever of its two lists of classes the archives there are of; imagenet100_kaggle and imagenet100_cmc
name one. data/README.md says what each data set is unpacked from."""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lls.config.compose import did_you_mean
from lls.data.download import arrays, layouts, prepare, published
from lls.data.download.fetch import check_checksums, download
from lls.data.download.layouts import Listing, wnids_of
from lls.data.download.verify import check_counts, unreadable_images
from lls.errors import UserError, run_script

NAMES = tuple(published.SIZES)
WEIGHTS = ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101")
MANY = 5_000_000_000  # bytes; beyond, decoding all images takes too long to be done unasked


def main() -> int:
    arguments = parse()
    folder, names = arguments.data, arguments.names or ["check"]
    if names == ["check"]:
        return report(folder, arguments.decode)
    todo = dict.fromkeys(name for word in names for name in expanded(word, folder))
    announce([name for name in todo if name in NAMES], folder)
    failed = 0
    for name in [] if "all" not in names else [name for name in NAMES if name not in todo]:
        print(f"{name} is left out: {published.MANUAL_DOWNLOADS[name].format(folder=folder)}")
    for name in todo:
        start = time.perf_counter()
        try:
            said = weights(folder) if name == "weights" else prepare_dataset(name, folder, arguments.decode)
            print(f"{name}: {said} ({time.perf_counter() - start:.0f} s)", flush=True)
        except UserError as error:
            failed += 1
            print(f"{name}: error: {error}", file=sys.stderr, flush=True)
    if failed:
        print(f"error: {failed} of {len(todo)} could not be prepared", file=sys.stderr)
        return UserError.status
    print(f"ready: {', '.join(todo)}")
    return 0


# -- preparing -------------------------------------------------------------------------------------------------------


def announce(names: list[str], folder: Path) -> None:
    """Say what disk the data sets will need, beside what is free. UserError where that is too little."""
    needed = 0
    for name in names:
        if (fetch := to_fetch(name, folder)) or to_unpack(name, folder):
            print(f"{name}: {megabytes(fetch)} to fetch, {megabytes(to_unpack(name, folder))} unpacked")
            needed += fetch + to_unpack(name, folder)
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed:
        print(f"about {megabytes(needed)} of disk in all; {megabytes(free)} are free in {folder}", flush=True)
    if needed > free:
        raise UserError(
            f"{folder} has {megabytes(free)} free and about {megabytes(needed)} are needed: make room, or name another "
            "folder with --data (and machine.data)"
        )


def to_fetch(name: str, folder: Path) -> int:
    """Bytes, about."""
    if there(name, folder) or name in published.MANUAL_DOWNLOADS:
        return 0
    archives = published.archives(name)
    lacking = prepare.missing_archives(archives, folder)
    parts = sum(path.stat().st_size for a in lacking if (path := folder / f"{a.path}.part").exists())
    return max(0, published.SIZES[name][0] * len(lacking) // len(archives) - parts)


def to_unpack(name: str, folder: Path) -> int:
    """Bytes, about."""
    return 0 if there(name, folder) or to_be_got(name, folder) else published.SIZES[name][1]


def prepare_dataset(name: str, folder: Path, decode: bool) -> str:
    """What there is of a data set, checked, fetched and unpacked first where it is missing. UserError where that fails.

    The images are decoded if `decode`, or if they were unpacked just now and are not too many."""
    if tree := tree_of(name, folder):
        listing, form = checked_tree(name, tree), f"an image tree, {tree}, "
    elif name in published.TORCHVISION:
        prepare.check_data_folder(name, folder)
        found = arrays.read_arrays(name, folder)
        return summary(found.train_y, found.test_y, found.classes)
    else:
        decode, form = decode or (not there(name, folder) and published.SIZES[name][1] < MANY), ""
        listing = prepare.listing(name, folder)
    said = form + summary(listing.train_y, listing.test_y, listing.classes)
    if not decode:
        return said
    if wrong := unreadable_images([*listing.train, *listing.test]):
        raise UserError(wrong[0] + (f", and {len(wrong) - 1} more" if wrong[1:] else ""))
    return f"{said}, all of which can be decoded"


def weights(folder: Path) -> str:
    """Fetch the files of weights that CUB's and Flowers' networks start from."""
    from torchvision.models import get_model_weights

    urls = [get_model_weights(network).IMAGENET1K_V1.url for network in WEIGHTS]
    for url in urls:
        path = folder / "weights" / url.rpartition("/")[2]
        if not path.exists():
            print(f"weights: fetching {url}", flush=True)
        download(url, path, sha256_prefix=path.stem.rpartition("-")[2])
    return f"{len(urls)} files with the SHA-256 that their names say"


# -- checking --------------------------------------------------------------------------------------------------------


def report(folder: Path, decode: bool) -> int:
    """Say of every data set whether it is ok, absent, or broken and how; 1 if any is broken, else 0."""
    states = Counter(_report(name, partial(_data_set, name, folder, decode)) for name in NAMES)
    states += Counter(
        _report(f"weights/{file.name}", partial(_weights, file)) for file in sorted((folder / "weights").glob("*.pth"))
    )
    print(f"{folder}: {states['ok']} ok, {states['absent']} absent, {states['broken']} broken")
    return 1 if states["broken"] else 0


def _report(name: str, look: Callable[[], tuple[str, str]]) -> str:
    start = time.perf_counter()
    try:
        state, said = look()
    except UserError as error:
        state, said = "broken", str(error)
    took = f" ({time.perf_counter() - start:.1f} s)" if state == "ok" else ""
    print(f"{state:<7} {name:<19} {said}{took}".rstrip(), flush=True)
    return state


def _data_set(name: str, folder: Path, decode: bool) -> tuple[str, str]:
    if there(name, folder):
        return "ok", prepare_dataset(name, folder, decode)
    forms = [(archive, folder / archive.path) for form in published.archive_sets(name) for archive in form]
    archives = {path: archive.md5 for archive, path in forms if path.is_file()}
    for path, md5 in archives.items():
        check_checksums(path, md5=md5)
    parts = [path.name for archive, _ in forms if (path := folder / f"{archive.path}.part").exists()]
    said = [f"{path.name} is there" for path in archives] + [f"{part} is half fetched" for part in parts]
    return "absent", f"{', '.join(said)}: python scripts/prepare_data.py {name}" if said else ""


def _weights(file: Path) -> tuple[str, str]:
    check_checksums(file, sha256_prefix=file.stem.rpartition("-")[2])
    return "ok", "has the SHA-256 that its name says"


# -- their parts -----------------------------------------------------------------------------------------------------


def there(name: str, folder: Path) -> bool:
    """Whether a data set is unpacked, or a tree stands in for it."""
    if tree_of(name, folder):
        return True
    if name in published.TORCHVISION:
        return all(path.exists() for path in arrays.array_files_path(name, folder))
    return prepare.dataset_root(name, folder) is not None


def to_be_got(name: str, folder: Path) -> bool:
    """Whether a data set can't be fetched, and has nothing here to be unpacked from."""
    return name in published.MANUAL_DOWNLOADS and bool(
        prepare.missing_archives(prepare.available_archives(name, folder), folder)
    )


def tree_of(name: str, folder: Path) -> Path | None:
    """The image tree that stands in for a data set; None if none does."""
    kind, _, which = name.partition("_")
    tree = folder / kind
    if not (tree / "train").is_dir() or (which and not any((tree / "train" / w).is_dir() for w in wnids_of(which))):
        return None
    return tree


def checked_tree(name: str, tree: Path) -> Listing:
    """The listing of a tree that has the classes and images that are published for `name`. UserError otherwise."""
    try:
        listing = layouts.class_tree(tree)
        if which := name.partition("_")[2]:
            layouts.check_classes(tree / "train", listing.classes, wnids_of(which))
        check_counts(name, listing.train_y, listing.test_y, listing.classes)
    except UserError as error:
        raise UserError(f"the image tree {tree} is not {name} as published: {error}") from None
    return listing


def summary(train_y: Sequence[int], test_y: Sequence[int], classes: Sequence[str]) -> str:
    return f"{len(train_y):,} + {len(test_y):,} images of {len(classes)} classes, as published"


def expanded(word: str, folder: Path) -> list[str]:
    """The data sets that a word of the command line means."""
    lists = [name for name in NAMES if name.startswith("imagenet100_")]
    if word == "all":
        lists_there = [name for name in lists if there(name, folder) or has_own_archives(name, folder)]
        others = [name for name in NAMES if name not in lists]
        return [name for name in others if there(name, folder) or not to_be_got(name, folder)] + lists_there
    if word == "imagenet100":
        return [name for name in lists if there(name, folder) or has_own_archives(name, folder)] or lists
    return [word]


def has_own_archives(name: str, folder: Path) -> bool:
    """Whether the archives of an ImageNet-100 list are there: ILSVRC2012's are the second list's."""
    own = prepare.available_archives(name, folder)
    return not prepare.missing_archives(own, folder) and (own == published.ILSVRC) == (name == "imagenet100_cmc")


def megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = (*NAMES, "imagenet100", "all", "check", "weights")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(words))
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder, machine.data (default: data)")
    parser.add_argument(
        "--decode", action="store_true", help="decode every image, which is done unasked after unpacking"
    )
    arguments = parser.parse_args()
    for word in arguments.names:
        if word not in words:
            parser.error(f"{word}: no such data set{did_you_mean(word, words)} (there are: {', '.join(words)})")
    if "check" in arguments.names and len(arguments.names) > 1:
        parser.error("check looks at everything: it takes no other name")
    return arguments


if __name__ == "__main__":
    run_script(main, "stopped; what was fetched so far is kept")
