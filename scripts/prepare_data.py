"""Download, unpack and check data sets: python scripts/prepare_data.py NAME... [--data data]

NAME is a data set or one of these words:
    all       all data sets; those that need a manual download only if their archives are in the data folder
    check     report the state of all data sets and change nothing (the default)
    weights   the networks' ImageNet weights, to data/weights

imagenet100 stands for the lists of classes that are in the data folder, or for both if none is; imagenet100_kaggle and
imagenet100_cmc name one. docs/data.md lists the archives of each data set."""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lls.config.compose import did_you_mean
from lls.data.download import arrays, prepare, published, state
from lls.data.download.fetch import check_checksums
from lls.data.download.verify import unreadable_images
from lls.errors import UserError, run_script

NETWORKS = ("mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101")  # those of CUB-200 and Flowers-102
DECODE_LIMIT_BYTES = 5_000_000_000  # larger data sets take long to decode: only with --decode


def main() -> int:
    arguments = parse_arguments()
    folder, words = arguments.data, arguments.names or ["check"]
    if words == ["check"]:
        return report(folder, arguments.decode)
    names = list(dict.fromkeys(name for word in words for name in state.resolve_names(word, folder)))
    check_space([name for name in names if name in state.NAMES], folder)
    if "all" in words:
        for name in state.NAMES:
            if name not in names:
                print(f"{name} is left out: {published.MANUAL_DOWNLOADS[name].format(folder=folder)}")
    failures = 0
    for name in names:
        start = time.perf_counter()
        try:
            summary = save_weights(folder) if name == "weights" else prepare_dataset(name, folder, arguments.decode)
            print(f"{name}: {summary} ({time.perf_counter() - start:.0f} s)", flush=True)
        except UserError as error:
            failures += 1
            print(f"{name}: error: {error}", file=sys.stderr, flush=True)
    if failures:
        print(f"error: {failures} of {len(names)} could not be prepared", file=sys.stderr)
        return UserError.status
    print(f"ready: {', '.join(names)}")
    return 0


def check_space(names: list[str], folder: Path) -> None:
    """Print the disk space that the data sets need and the free space. Raises UserError if that is too little."""
    needed = 0
    for name in names:
        download, unpack = state.bytes_to_download(name, folder), state.bytes_to_unpack(name, folder)
        if download or unpack:
            print(f"{name}: {format_bytes(download)} to download, {format_bytes(unpack)} unpacked")
            needed += download + unpack
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed:
        print(f"about {format_bytes(needed)} of disk in total; {folder} has {format_bytes(free)} free", flush=True)
    if needed > free:
        raise UserError(
            f"{folder} has {format_bytes(free)} free, and about {format_bytes(needed)} are needed: free the disk, or "
            "name another folder with --data (and machine.data)"
        )


def prepare_dataset(name: str, folder: Path, decode: bool) -> str:
    """Check a data set, downloaded and unpacked first if it is missing. Returns a summary of its images.

    The images are decoded if `decode` is true, or if they were unpacked now and are not too large. Raises UserError if
    the data set can't be prepared or is not as published."""
    prefix = ""
    if tree := state.image_tree(name, folder):
        listing, prefix = state.list_image_tree(name, tree), f"an image tree, {tree}, "
    elif name in published.TORCHVISION:
        prepare.check_data_folder(name, folder)
        data = arrays.read_arrays(name, folder)
        return format_counts(data.train_y, data.test_y, data.classes)
    else:
        decode = decode or (not state.is_available(name, folder) and published.SIZES[name][1] < DECODE_LIMIT_BYTES)
        listing = prepare.listing(name, folder)
    summary = prefix + format_counts(listing.train_y, listing.test_y, listing.classes)
    if not decode:
        return summary
    if errors := unreadable_images([*listing.train, *listing.test]):
        raise UserError(errors[0] + (f", and {len(errors) - 1} more" if errors[1:] else ""))
    return f"{summary}; all images can be decoded"


def save_weights(folder: Path) -> str:
    """Download the weights that the networks of CUB-200 and Flowers-102 start from. Returns a summary."""
    from torchvision.models import get_model_weights

    from lls.networks.pretrained import ensure_weights

    for network in NETWORKS:
        url = get_model_weights(network).IMAGENET1K_V1.url
        if not (folder / "weights" / url.rpartition("/")[2]).exists():
            print(f"weights: downloading {url}", flush=True)
        ensure_weights(url, folder)
    return f"{len(NETWORKS)} files have the SHA-256 in their names"


# -- checking --------------------------------------------------------------------------------------------------------


def report(folder: Path, decode: bool) -> int:
    """Print whether each data set and each file of weights is ok, absent or broken. Returns 1 if one is broken."""
    checks = {name: partial(check_dataset, name, folder, decode) for name in state.NAMES}
    for file in sorted((folder / "weights").glob("*.pth")):
        checks[f"weights/{file.name}"] = partial(check_weights, file)
    counts = Counter(report_state(name, check) for name, check in checks.items())
    print(f"{folder}: {counts['ok']} ok, {counts['absent']} absent, {counts['broken']} broken")
    return 1 if counts["broken"] else 0


def report_state(name: str, check: Callable[[], tuple[str, str]]) -> str:
    """Print one line about a data set or a file of weights. Returns its state: `ok`, `absent` or `broken`."""
    start = time.perf_counter()
    try:
        status, text = check()
    except UserError as error:
        status, text = "broken", str(error)
    duration = f" ({time.perf_counter() - start:.1f} s)" if status == "ok" else ""
    print(f"{status:<7} {name:<19} {text}{duration}".rstrip(), flush=True)
    return status


def check_dataset(name: str, folder: Path, decode: bool) -> tuple[str, str]:
    """Return the state of a data set, `ok` or `absent`, and details. Raises UserError if it is broken."""
    if state.is_available(name, folder):
        return "ok", prepare_dataset(name, folder, decode)
    archives = [archive for archive_set in published.archive_sets(name) for archive in archive_set]
    complete = [archive for archive in archives if (folder / archive.path).is_file()]
    for archive in complete:
        check_checksums(folder / archive.path, md5=archive.md5)
    parts = [path.name for archive in archives if (path := folder / f"{archive.path}.part").exists()]
    notes = [f"{Path(archive.path).name} is present" for archive in complete]
    notes += [f"{part} is a partial download" for part in parts]
    return "absent", f"{', '.join(notes)}: run python scripts/prepare_data.py {name}" if notes else ""


def check_weights(file: Path) -> tuple[str, str]:
    from lls.networks.pretrained import sha256_in_name

    check_checksums(file, sha256_prefix=sha256_in_name(file))
    return "ok", "has the SHA-256 in its name"


# -- command line ----------------------------------------------------------------------------------------------------


def format_counts(train_y: Sequence[int], test_y: Sequence[int], classes: Sequence[str]) -> str:
    return f"{len(train_y):,} + {len(test_y):,} images of {len(classes)} classes, as published"


def format_bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = (*state.NAMES, "imagenet100", "all", "check", "weights")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(words))
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder, machine.data (default: data)")
    parser.add_argument(
        "--decode",
        action="store_true",
        help="decode all images; the default is to decode them after unpacking, except for ImageNet-100",
    )
    arguments = parser.parse_args()
    for word in arguments.names:
        if word not in words:
            parser.error(f"{word}: no such data set{did_you_mean(word, words)} (use one of {', '.join(words)})")
    if "check" in arguments.names and len(arguments.names) > 1:
        parser.error("check reports on all data sets: give it no other name")
    return arguments


if __name__ == "__main__":
    run_script(main, "stopped; repeat the command to continue unfinished downloads")
