"""Published facts about each data set: archives, checksums, sizes, and the number of images of each class.

ImageNet-100 is two data sets here, one for each list of classes: imagenet100_kaggle and imagenet100_cmc. Tests replace
entries of these tables by those of small archives.
"""

from typing import NamedTuple

MB = 1_000_000


class Archive(NamedTuple):
    path: str  # below the data folder
    url: str | None  # None: it needs a manual download
    md5: str | None  # None: not published


class Split(NamedTuple):
    total: int | None  # None: not published
    per_class: int | range | tuple[int, ...] | None = None  # one number or range for all classes, or a number per class


class Counts(NamedTuple):
    classes: int
    train: Split
    test: Split


COUNTS = {
    "digits": Counts(10, Split(1_437), Split(360)),  # scikit-learn's images; the split is this project's
    "fashionmnist": Counts(10, Split(60_000, 6_000), Split(10_000, 1_000)),
    "cifar10": Counts(10, Split(50_000, 5_000), Split(10_000, 1_000)),
    "cifar100": Counts(100, Split(50_000, 500), Split(10_000, 100)),
    "svhn": Counts(
        10,
        Split(73_257, (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)),
        Split(26_032, (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)),
    ),
    "tinyimagenet": Counts(200, Split(100_000, 500), Split(10_000, 50)),
    "animals10n": Counts(10, Split(50_000), Split(5_000)),
    # ImageNet's classes have 732 to 1,300 images each. No exact total is published for Kaggle's 100 classes.
    "imagenet100_kaggle": Counts(100, Split(None, range(732, 1301)), Split(5_000, 50)),
    "imagenet100_cmc": Counts(100, Split(126_689, range(732, 1301)), Split(5_000, 50)),
    "cub200": Counts(200, Split(5_994), Split(5_794)),
    "flowers102": Counts(102, Split(1_020, 10), Split(6_149)),
}

# Approximate bytes of each data set that has archives: all archives, and all unpacked files (in whole disk blocks).
SIZES = {
    "fashionmnist": (31 * MB, 55 * MB),
    "cifar10": (170 * MB, 186 * MB),
    "cifar100": (169 * MB, 186 * MB),
    "svhn": (246 * MB, 0),
    "tinyimagenet": (248 * MB, 510 * MB),
    "animals10n": (85 * MB, 230 * MB),
    "imagenet100_kaggle": (17_000 * MB, 17_500 * MB),
    "imagenet100_cmc": (144_500 * MB, 15_000 * MB),
    "cub200": (1_151 * MB, 1_250 * MB),
    "flowers102": (345 * MB, 370 * MB),
}

ILSVRC = (
    Archive("ILSVRC2012/ILSVRC2012_img_train.tar", None, "1d675b47d978889d74fa0da5fadfb00e"),
    Archive("ILSVRC2012/ILSVRC2012_img_val.tar", None, "29b22e2961454d5413ddabcf34fc5622"),
    Archive("ILSVRC2012/ILSVRC2012_devkit_t12.tar.gz", None, "fa75699e90414af021442c21a62c3abf"),
)
ARCHIVES = {
    "tinyimagenet": (
        Archive(
            "tiny-imagenet-200.zip",
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "90528d7ca1a48142e341f4ef8d21d0de",
        ),
    ),
    "cub200": (
        Archive(
            "CUB_200_2011.tgz",
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            "97eceeb196236b17998738112f37df78",
        ),
    ),
    "flowers102": tuple(
        Archive(f"flowers-102/{file}", f"https://www.robots.ox.ac.uk/~vgg/data/flowers/102/{file}", md5)
        for file, md5 in (
            ("102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
            ("imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
            ("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
        )
    ),
    "animals10n": (Archive("animals10n/raw_image_ver.zip", None, None),),
    "imagenet100_kaggle": (Archive("imagenet100/archive.zip", None, None),),
    "imagenet100_cmc": ILSVRC,
}

# Other archives that a data set can be unpacked from.
ALTERNATIVES = {
    "animals10n": ((Archive("raw_image_ver.zip", None, None),),),
    "imagenet100_kaggle": (
        (Archive("imagenet100/imagenet100.zip", None, None),),  # the name that Kaggle's command gives it
        (Archive("imagenet100.zip", None, None),),
        ILSVRC,
    ),
}

# What to do for the data sets that can't be downloaded by a program.
MANUAL_DOWNLOADS = {
    "animals10n": "ask for the raw images at https://dm.kaist.ac.kr/datasets/animal-10n (a form), and put "
    "raw_image_ver.zip at {folder}/animals10n/raw_image_ver.zip",
    "imagenet100_kaggle": "download https://www.kaggle.com/datasets/ambityga/imagenet100 (an account is needed) to "
    "{folder}/imagenet100/archive.zip, or have ILSVRC2012, packed or unpacked, in {folder}/ILSVRC2012",
    "imagenet100_cmc": "download ImageNet's ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz from https://image-net.org (an account is needed) to {folder}/ILSVRC2012/, or link "
    "an unpacked ILSVRC2012, with train/WNID/* and val/WNID/*, as {folder}/ILSVRC2012",
}

# The data sets of arrays that torchvision reads, and its classes.
TORCHVISION = {"fashionmnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN"}


def images(name: str, classes: str | None = None) -> tuple[int, int] | None:
    """Return the numbers of training and of test images of a data set; None if the data set is not in COUNTS.

    A number is an upper bound where no total is published. classes: the list of ImageNet-100, `kaggle` or `cmc`."""
    counts = COUNTS.get(f"{name}_{classes}" if classes else name)
    if counts is None:
        return None
    train, test = (split.total or counts.classes * split.per_class[-1] for split in (counts.train, counts.test))
    return train, test


def archives(name: str) -> tuple[Archive, ...]:
    """Return the archives of a data set. torchvision names those of the data sets that it reads."""
    if name in ARCHIVES:
        return ARCHIVES[name]
    dataset = torchvision_class(name)
    if name == "fashionmnist":
        mirror = dataset.mirrors[0]
        return tuple(Archive(f"FashionMNIST/raw/{file}", mirror + file, md5) for file, md5 in dataset.resources)
    if name == "svhn":
        files = (dataset.split_list[split] for split in ("train", "test"))
        return tuple(Archive(file, url, md5) for url, file, md5 in files)
    return (Archive(dataset.filename, dataset.url, dataset.tgz_md5),)


def archive_sets(name: str) -> tuple[tuple[Archive, ...], ...]:
    """Return all sets of archives that a data set can be unpacked from; the first is the one to download."""
    return (archives(name), *ALTERNATIVES.get(name, ()))


def torchvision_class(name: str) -> type:
    """Return torchvision's class for a data set of TORCHVISION."""
    import torchvision.datasets  # here, because it is slow and most callers need the tables only

    return getattr(torchvision.datasets, TORCHVISION[name])
