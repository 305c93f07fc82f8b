"""Archives of all data sets in their official layouts, with few and small images.

write("cub200", folder, monkeypatch) writes them below `folder` and replaces the published archives, MD5s and numbers of
images by theirs. Each image has one colour, which gives its label (label_of). Class 0 begins with a grey image and
class 1 with a CMYK image.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from functools import cache
from typing import NamedTuple

import numpy as np
import torchvision.datasets as tv
from PIL import Image
from scipy.io import savemat

from lls.config.compose import compose
from lls.data.download import published
from lls.data.download.layouts import wnids_of
from lls.data.download.published import Archive, Counts, Split

NAMES = tuple(published.SIZES)
OTHER_WNIDS = ("n00000001", "n99999999")  # classes of ImageNet that are in no list
TINY_WNIDS = [f"n{i:08d}" for i in range(7, 2007, 10)]


class Written(NamedTuple):
    """What a writer has written, to be taken for the published data set."""

    num_classes: int
    archives: tuple[Archive, ...] | None = None  # None: the published archives are not verified
    class_attributes: dict | None = None  # of torchvision's class, if it names the archives


def write(name, folder, monkeypatch, each=(2, 1), url="http://nowhere.invalid", wnids=None):
    """Write the archives of a data set below `folder`. Returns the numbers of images.

    each: training and test images per class. url: the server that the archives are to be downloaded from.
    wnids: the classes in the archives of imagenet100_cmc; None for its list."""
    name = "imagenet100_kaggle" if name == "imagenet100" else name
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for all other programs that write
    if name == "imagenet100_cmc":
        written = _ilsvrc(folder, each, wnids or wnids_of("cmc"))
        monkeypatch.setitem(published.ALTERNATIVES, "imagenet100_kaggle", (written.archives,))
    else:
        written = WRITERS[name](name, folder, each, url)
    if written.archives:
        monkeypatch.setitem(published.ARCHIVES, name, written.archives)
    if written.class_attributes:
        parent = published.torchvision_class(name)
        monkeypatch.setattr(tv, parent.__name__, type(parent.__name__, (parent,), written.class_attributes))
    counts = Counts(written.num_classes, *(Split(written.num_classes * n, n) for n in each))
    monkeypatch.setitem(published.COUNTS, name, counts)
    return counts


@cache
def dataset(name, *overrides):
    """Return the dataset node of a configuration, for a name that `write` takes. Cached because composing is slow."""
    kind, _, classes = name.partition("_")
    return compose([f"dataset={kind}", *([f"dataset.classes={classes}"] if classes else []), *overrides]).dataset


def label_of(pixels):
    """Return the label that the colour in the middle of an image `[H, W, C]` stands for."""
    middle = np.asarray(pixels)[pixels.shape[0] // 2, pixels.shape[1] // 2].astype(int)
    return int(middle[0] // 16 + 16 * (middle[1] // 16))


def jpeg(label, i, size=(64, 64)):
    """Return the bytes of the i-th image of a class."""
    return _jpeg(label, "L" if (label, i) == (0, 0) else "CMYK" if (label, i) == (1, 0) else "RGB", size)


@cache
def _jpeg(label, mode, size):
    image, file = Image.new("RGB", size, (16 * (label % 16) + 8, 16 * (label // 16) + 8, 128)), io.BytesIO()
    image.convert(mode).save(file, "JPEG", quality=95)
    return file.getvalue()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files, mode="w:gz"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files, mode))
    return path


def tar_bytes(files, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _labels(num_classes, n):
    return np.tile(np.arange(num_classes), n)


def _pixels(labels, side):
    """Return images `[N, side, side, 3]`, each of the colour of its label."""
    colours = np.stack([16 * (labels % 16) + 8, 16 * (labels // 16) + 8, 0 * labels + 128], 1).astype(np.uint8)
    return np.broadcast_to(colours[:, None, None], (len(labels), side, side, 3))


def _fashionmnist(name, folder, each, url):
    resources = []
    for split, n in zip(("train", "t10k"), each, strict=True):
        labels = _labels(10, n).astype(np.uint8)
        for kind, array in (("images-idx3", _pixels(labels, 28)[..., 0]), ("labels-idx1", labels)):
            file = folder / "FashionMNIST" / "raw" / f"{split}-{kind}-ubyte.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(idx(array)))
            resources.append((file.name, md5(file)))
    return Written(10, None, {"resources": resources, "mirrors": [f"{url}/FashionMNIST/raw/"]})


def idx(array):
    """Return the bytes of a uint8 array in the format of MNIST."""
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + np.ascontiguousarray(array).tobytes()


def _cifar(name, folder, each, url):
    original, num_classes, key = (tv.CIFAR10, 10, "labels") if name == "cifar10" else (tv.CIFAR100, 100, "fine_labels")
    contents = {}
    for files, n in ((original.train_list, each[0]), (original.test_list, each[1])):
        labels = _labels(num_classes, n)
        x = _pixels(labels, 32).transpose(0, 3, 1, 2).reshape(len(labels), -1)
        for (file, _), rows in zip(files, np.array_split(np.arange(len(labels)), len(files)), strict=True):
            contents[file] = pickle.dumps({"data": x[rows], key: labels[rows].tolist()}, protocol=2)
    meta, names = original.meta, [f"kind {i:02d}" for i in range(num_classes)]
    contents[meta["filename"]] = pickle.dumps({meta["key"]: names}, protocol=2)
    md5s = {file: hashlib.md5(content).hexdigest() for file, content in contents.items()}
    archive = tarred(folder / original.filename, {f"{original.base_folder}/{f}": c for f, c in contents.items()})
    attributes = {
        "train_list": [[file, md5s[file]] for file, _ in original.train_list],
        "test_list": [[file, md5s[file]] for file, _ in original.test_list],
        "meta": meta | {"md5": md5s[meta["filename"]]},
        "tgz_md5": md5(archive),
        "url": f"{url}/{original.filename}",
    }
    return Written(num_classes, None, attributes)


def _svhn(name, folder, each, url):
    splits = {}
    for split, n in zip(("train", "test"), each, strict=True):
        labels, file = _labels(10, n), folder / f"{split}_32x32.mat"
        savemat(file, {"X": _pixels(labels, 32).transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        splits[split] = [f"{url}/{file.name}", file.name, md5(file)]
    return Written(10, None, {"split_list": tv.SVHN.split_list | splits})


def _tinyimagenet(name, folder, each, url):
    top, files, test_images = "tiny-imagenet-200", {}, []
    for label, wnid in enumerate(TINY_WNIDS):
        for i in range(each[0]):
            files[f"{top}/train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(label, i)
        files[f"{top}/train/{wnid}/{wnid}_boxes.txt"] = b"x.JPEG\t0\t0\t9\t9\n"
        test_images += [(label, i) for i in range(each[1])]
    test_images = test_images[1::2] + test_images[::2]  # the official ones are in no order either
    for n, (label, i) in enumerate(test_images):
        files[f"{top}/val/images/val_{n}.JPEG"] = jpeg(label, i + 1)
    lines = [f"val_{n}.JPEG\t{TINY_WNIDS[label]}\t0\t0\t9\t9\n" for n, (label, _) in enumerate(test_images)]
    files[f"{top}/val/val_annotations.txt"] = "".join(lines).encode()
    files[f"{top}/test/images/test_0.JPEG"] = jpeg(0, 1)
    files[f"{top}/wnids.txt"] = "".join(f"{wnid}\n" for wnid in reversed(TINY_WNIDS)).encode()
    words = {OTHER_WNIDS[0]: "entity"} | {wnid: f"object {i}, second word" for i, wnid in enumerate(TINY_WNIDS)}
    words |= dict.fromkeys(TINY_WNIDS[4:6], "crane")
    files[f"{top}/words.txt"] = "".join(f"{wnid}\t{word}\n" for wnid, word in words.items()).encode()
    return Written(200, _archives(name, url, zipped(folder / f"{top}.zip", files)))


def _cub200(name, folder, each, url):
    classes = [f"{i + 1:03d}.Black_footed_Bird{i}" for i in range(200)]
    files, images = {"attributes.txt": b"1 has_bill_shape::curved\n", "CUB_200_2011/README": b"birds\n"}, []
    for label, kind in enumerate(classes):
        for i in range(sum(each)):
            images.append((f"{kind}/Bird_{i:04d}_{label}.jpg", label + 1, int(i < each[0])))
            files[f"CUB_200_2011/images/{images[-1][0]}"] = jpeg(label, i, (60, 40))
    texts = {
        "classes": enumerate(classes, 1),
        "images": ((i, image[0]) for i, image in enumerate(images, 1)),
        "image_class_labels": ((i, image[1]) for i, image in enumerate(images, 1)),
        "train_test_split": ((i, image[2]) for i, image in enumerate(images, 1)),
    }
    for text, rows in texts.items():
        files[f"CUB_200_2011/{text}.txt"] = "".join(f"{a} {b}\n" for a, b in rows).encode()
    return Written(200, _archives(name, url, tarred(folder / "CUB_200_2011.tgz", files)))


def _flowers102(name, folder, each, url):
    base, n = folder / "flowers-102", each[0] + 1 + each[1]
    labels = np.repeat(np.arange(102), n)
    files = {f"jpg/image_{i + 1:05d}.jpg": jpeg(label, i % n, (50, 70)) for i, label in enumerate(labels.tolist())}
    tarred(base / "102flowers.tgz", files)
    ids = np.arange(1, len(labels) + 1).reshape(102, n)
    parts = {"trnid": ids[:, : each[0]], "valid": ids[:, each[0] : each[0] + 1], "tstid": ids[:, each[0] + 1 :]}
    savemat(base / "setid.mat", {key: part.reshape(1, -1) for key, part in parts.items()})
    savemat(base / "imagelabels.mat", {"labels": (labels + 1).reshape(1, -1).astype(np.uint8)})
    return Written(102, _archives(name, url, *(folder / archive.path for archive in published.ARCHIVES[name])))


def animals_files(each):
    """Return the files of Animals-10N: bytes by path in the archive."""
    return {
        f"raw_image/{split}/{label}_{label * n + i}.jpg": jpeg(label, i + shift)
        for split, n, shift in (("training", each[0], 0), ("testing", each[1], 1))
        for label in range(10)
        for i in range(n)
    }


def _animals10n(name, folder, each, url):
    zipped(folder / "animals10n" / "raw_image_ver.zip", animals_files(each))
    return Written(10)


def _kaggle(name, folder, each, url):
    wnids = wnids_of("kaggle")
    files = {"Labels.json": json.dumps({wnid: f"animal {i}, Animalia" for i, wnid in enumerate(wnids)}).encode()}
    for label, wnid in enumerate(wnids):
        for i in range(each[0]):
            files[f"train.X{1 + label % 4}/{wnid}/{wnid}_{i}.JPEG"] = jpeg(label, i, (60, 40))
        for i in range(each[1]):
            files[f"val.X/{wnid}/ILSVRC2012_val_{label * 50 + i:08d}.JPEG"] = jpeg(label, i + 1, (60, 40))
    zipped(folder / "imagenet100" / "archive.zip", files)
    return Written(100)


def _ilsvrc(folder, each, wnids):
    base = folder / "ILSVRC2012"
    labels = {wnid: label for label, wnid in enumerate(wnids)} | dict.fromkeys(OTHER_WNIDS, 255)
    classes = {
        wnid: tar_bytes({f"{wnid}_{i}.JPEG": jpeg(label, i, (60, 40)) for i in range(each[0])})
        for wnid, label in labels.items()
    }
    train = tarred(base / "ILSVRC2012_img_train.tar", {f"{wnid}.tar": tar for wnid, tar in classes.items()}, "w")
    val_images = [(wnid, i) for i in range(each[1]) for wnid in reversed(labels)]
    files = {
        f"ILSVRC2012_val_{n:08d}.JPEG": jpeg(labels[wnid], i + 1, (60, 40)) for n, (wnid, i) in enumerate(val_images, 1)
    }
    val = tarred(base / "ILSVRC2012_img_val.tar", files, "w")
    numbers = {wnid: n for n, wnid in enumerate(labels, 1)}  # not in the order of the WNIDs
    synsets = np.zeros((len(numbers), 1), [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for row, (wnid, n) in zip(synsets, numbers.items(), strict=True):
        row[0] = (np.array([[n]], np.uint8), wnid, "a word")
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    top = "ILSVRC2012_devkit_t12"
    truth = "".join(f"{numbers[wnid]}\n" for wnid, _ in val_images).encode()
    files = {f"{top}/data/meta.mat": meta.getvalue(), f"{top}/data/ILSVRC2012_validation_ground_truth.txt": truth}
    devkit = tarred(base / f"{top}.tar.gz", {f"{top}/readme.txt": b"ImageNet", **files})
    return Written(100, _archives("imagenet100_cmc", None, train, val, devkit))


def _archives(name, url, *paths):
    """Describe archives that replace the published ones of a data set, at the same paths of the data folder."""
    return tuple(
        Archive(archive.path, url and f"{url}/{archive.path}", md5(path))
        for archive, path in zip(published.ARCHIVES[name], paths, strict=True)
    )


WRITERS = {
    "fashionmnist": _fashionmnist,
    "cifar10": _cifar,
    "cifar100": _cifar,
    "svhn": _svhn,
    "tinyimagenet": _tinyimagenet,
    "cub200": _cub200,
    "flowers102": _flowers102,
    "animals10n": _animals10n,
    "imagenet100_kaggle": _kaggle,
}
