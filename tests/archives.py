"""Archives of every data set in the layout they are distributed in, of few and small images.

write("cub200", folder, monkeypatch) puts them where data/README.md wants them, and has lls.data.download.published and
torchvision take them for the published ones: their MD5s and their counts. With `url`, they are said to be fetched from
there. Images are of one colour, which tells the label (label_of); class 0 begins with a grey image, 1 with a CMYK one.
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
from pathlib import Path

import numpy as np
import torchvision.datasets as tv
from PIL import Image
from scipy.io import savemat

from lls.config.compose import compose
from lls.data.download import published
from lls.data.download.layouts import wnids_of
from lls.data.download.published import Archive, Counts, Split

NAMES = tuple(published.SIZES)
OTHER = ("n00000001", "n99999999")  # classes of ImageNet that no list has
TINY = [f"n{i:08d}" for i in range(7, 2007, 10)]


def write(name, folder, monkeypatch, each=(2, 1), url="http://nowhere.invalid"):
    """Write the archives of `name` below `folder`, with `each` training and test images a class. Their counts."""
    name = "imagenet100_kaggle" if name == "imagenet100" else name
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for whatever else the machine is writing
    writers = {"imagenet100_kaggle": _kaggle, "imagenet100_cmc": _ilsvrc, "cifar10": _cifar, "cifar100": _cifar}
    writer = writers.get(name) or globals()[f"_{name}"]
    num_classes = writer(name, folder, monkeypatch, each, url)
    counts = Counts(num_classes, *(Split(num_classes * n, n) for n in each))
    monkeypatch.setitem(published.COUNTS, name, counts)
    return counts


@cache
def dataset(name, *overrides):
    """The dataset node of a configuration, by the name that `write` takes; composing one takes as long as a test."""
    kind, _, classes = name.partition("_")
    return compose([f"dataset={kind}", *([f"dataset.classes={classes}"] if classes else []), *overrides]).dataset


def label_of(pixels):
    """The label that the middle of an image `[H, W, C]` tells."""
    middle = np.asarray(pixels)[pixels.shape[0] // 2, pixels.shape[1] // 2].astype(int)
    return int(middle[0] // 16 + 16 * (middle[1] // 16))


def jpeg(label, i, size=(64, 64)):
    """The bytes of the i-th image of a class."""
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


# -- arrays ----------------------------------------------------------------------------------------------------------


def _labels(num_classes, n):
    return np.tile(np.arange(num_classes), n)


def _pixels(labels, side):
    """[N, side, side, 3] of one colour each."""
    colours = np.stack([16 * (labels % 16) + 8, 16 * (labels // 16) + 8, 0 * labels + 128], 1).astype(np.uint8)
    return np.broadcast_to(colours[:, None, None], (len(labels), side, side, 3))


def _fashionmnist(name, folder, monkeypatch, each, url):
    resources = []
    for split, n in zip(("train", "t10k"), each, strict=True):
        labels = _labels(10, n).astype(np.uint8)
        for kind, array in (("images-idx3", _pixels(labels, 28)[..., 0]), ("labels-idx1", labels)):
            file = folder / "FashionMNIST" / "raw" / f"{split}-{kind}-ubyte.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(idx(array)))
            resources.append((file.name, md5(file)))
    monkeypatch.setattr(tv.FashionMNIST, "resources", resources)
    monkeypatch.setattr(tv.FashionMNIST, "mirrors", [f"{url}/FashionMNIST/raw/"])
    return 10


def idx(array):
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + np.ascontiguousarray(array).tobytes()


def _cifar(name, folder, monkeypatch, each, url):
    made, k, key = (tv.CIFAR10, 10, "labels") if name == "cifar10" else (tv.CIFAR100, 100, "fine_labels")
    contents = {}
    for files, n in ((made.train_list, each[0]), (made.test_list, each[1])):
        labels = _labels(k, n)
        x = _pixels(labels, 32).transpose(0, 3, 1, 2).reshape(len(labels), -1)
        for part, at in zip(files, np.array_split(np.arange(len(labels)), len(files)), strict=True):
            contents[part[0]] = pickle.dumps({"data": x[at], key: labels[at].tolist()}, protocol=2)
    contents[made.meta["filename"]] = pickle.dumps({made.meta["key"]: [f"kind {i:02d}" for i in range(k)]}, protocol=2)
    sums = {file: hashlib.md5(content).hexdigest() for file, content in contents.items()}
    archive = tarred(folder / made.filename, {f"{made.base_folder}/{file}": c for file, c in contents.items()})
    monkeypatch.setattr(made, "train_list", [[file, sums[file]] for file, _ in made.train_list])
    monkeypatch.setattr(made, "test_list", [[file, sums[file]] for file, _ in made.test_list])
    monkeypatch.setattr(made, "meta", made.meta | {"md5": sums[made.meta["filename"]]})
    monkeypatch.setattr(made, "tgz_md5", md5(archive))
    monkeypatch.setattr(made, "url", f"{url}/{made.filename}")
    return k


def _svhn(name, folder, monkeypatch, each, url):
    splits = {}
    for split, n in zip(("train", "test"), each, strict=True):
        labels, file = _labels(10, n), folder / f"{split}_32x32.mat"
        savemat(file, {"X": _pixels(labels, 32).transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        splits[split] = [f"{url}/{file.name}", file.name, md5(file)]
    monkeypatch.setattr(tv.SVHN, "split_list", tv.SVHN.split_list | splits)
    return 10


# -- image files -----------------------------------------------------------------------------------------------------


def _tinyimagenet(name, folder, monkeypatch, each, url):
    top, files, notes = "tiny-imagenet-200", {}, []
    for label, wnid in enumerate(TINY):
        for i in range(each[0]):
            files[f"{top}/train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(label, i)
        files[f"{top}/train/{wnid}/{wnid}_boxes.txt"] = b"x.JPEG\t0\t0\t9\t9\n"
        notes += [(label, i) for i in range(each[1])]
    notes = notes[1::2] + notes[::2]  # val's images are in no order
    for n, (label, i) in enumerate(notes):
        files[f"{top}/val/images/val_{n}.JPEG"] = jpeg(label, i + 1)
    lines = [f"val_{n}.JPEG\t{TINY[label]}\t0\t0\t9\t9\n" for n, (label, _) in enumerate(notes)]
    files[f"{top}/val/val_annotations.txt"] = "".join(lines).encode()
    files[f"{top}/test/images/test_0.JPEG"] = jpeg(0, 1)
    files[f"{top}/wnids.txt"] = "".join(f"{wnid}\n" for wnid in reversed(TINY)).encode()
    words = {wnid: f"thing {i}, Thing thing" for i, wnid in enumerate(TINY)} | dict.fromkeys(TINY[4:6], "crane")
    files[f"{top}/words.txt"] = "".join(
        f"{wnid}\t{word}\n" for wnid, word in {OTHER[0]: "entity", **words}.items()
    ).encode()
    _publish(monkeypatch, name, url, zipped(folder / f"{top}.zip", files), folder)
    return 200


def _cub200(name, folder, monkeypatch, each, url):
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
    _publish(monkeypatch, name, url, tarred(folder / "CUB_200_2011.tgz", files), folder)
    return 200


def _flowers102(name, folder, monkeypatch, each, url):
    base, n = folder / "flowers-102", each[0] + 1 + each[1]
    labels = np.repeat(np.arange(102), n)
    files = {f"jpg/image_{i + 1:05d}.jpg": jpeg(label, i % n, (50, 70)) for i, label in enumerate(labels.tolist())}
    tarred(base / "102flowers.tgz", files)
    ids = np.arange(1, len(labels) + 1).reshape(102, n)
    parts = {"trnid": ids[:, : each[0]], "valid": ids[:, each[0] : each[0] + 1], "tstid": ids[:, each[0] + 1 :]}
    savemat(base / "setid.mat", {key: part.reshape(1, -1) for key, part in parts.items()})
    savemat(base / "imagelabels.mat", {"labels": (labels + 1).reshape(1, -1).astype(np.uint8)})
    theirs = tuple(Archive(a.path, f"{url}/{a.path}", md5(folder / a.path)) for a in published.ARCHIVES[name])
    monkeypatch.setitem(published.ARCHIVES, name, theirs)
    return 102


def animals_files(each):
    return {
        f"raw_image/{split}/{label}_{label * n + i}.jpg": jpeg(label, i + shift)
        for split, n, shift in (("training", each[0], 0), ("testing", each[1], 1))
        for label in range(10)
        for i in range(n)
    }


def _animals10n(name, folder, monkeypatch, each, url):
    zipped(folder / "animals10n" / "raw_image_ver.zip", animals_files(each))
    return 10


def _kaggle(name, folder, monkeypatch, each, url):
    wnids = wnids_of("kaggle")
    files = {"Labels.json": json.dumps({wnid: f"animal {i}, Animalia" for i, wnid in enumerate(wnids)}).encode()}
    for label, wnid in enumerate(wnids):
        for i in range(each[0]):
            files[f"train.X{1 + label % 4}/{wnid}/{wnid}_{i}.JPEG"] = jpeg(label, i, (60, 40))
        for i in range(each[1]):
            files[f"val.X/{wnid}/ILSVRC2012_val_{label * 50 + i:08d}.JPEG"] = jpeg(label, i + 1, (60, 40))
    zipped(folder / "imagenet100" / "archive.zip", files)
    return 100


def _ilsvrc(name, folder, monkeypatch, each, url):
    base, wnids = folder / "ILSVRC2012", wnids_of("cmc")
    shown = {wnid: label for label, wnid in enumerate(wnids)} | dict.fromkeys(OTHER, 255)
    classes = {
        wnid: tar_bytes({f"{wnid}_{i}.JPEG": jpeg(label, i, (60, 40)) for i in range(each[0])})
        for wnid, label in shown.items()
    }
    tarred(base / "ILSVRC2012_img_train.tar", {f"{wnid}.tar": inner for wnid, inner in classes.items()}, "w")
    of_val = [(wnid, i) for i in range(each[1]) for wnid in reversed(shown)]
    images = {
        f"ILSVRC2012_val_{n:08d}.JPEG": jpeg(shown[wnid], i + 1, (60, 40)) for n, (wnid, i) in enumerate(of_val, 1)
    }
    tarred(base / "ILSVRC2012_img_val.tar", images, "w")
    number = {wnid: n for n, wnid in enumerate(shown, 1)}  # in another order than the WNIDs'
    synsets = np.zeros((len(number), 1), [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for row, (wnid, n) in zip(synsets, number.items(), strict=True):
        row[0] = (np.array([[n]], np.uint8), wnid, "a thing")
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    top = "ILSVRC2012_devkit_t12"
    truth = "".join(f"{number[wnid]}\n" for wnid, _ in of_val).encode()
    kit = {f"{top}/data/meta.mat": meta.getvalue(), f"{top}/data/ILSVRC2012_validation_ground_truth.txt": truth}
    tarred(base / f"{top}.tar.gz", {f"{top}/readme.txt": b"ImageNet", **kit})
    theirs = tuple(Archive(a.path, None, md5(folder / a.path)) for a in published.ILSVRC)
    monkeypatch.setattr(published, "ILSVRC", theirs)
    monkeypatch.setitem(published.ARCHIVES, name, theirs)
    monkeypatch.setitem(published.ALTERNATIVES, "imagenet100_kaggle", (theirs,))
    return 100


def _publish(monkeypatch, name, url, path: Path, folder: Path):
    at = path.relative_to(folder).as_posix()
    monkeypatch.setitem(published.ARCHIVES, name, (Archive(at, f"{url}/{at}", md5(path)),))
