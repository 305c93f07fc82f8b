"""The 20 superclasses of CIFAR-100 (Krizhevsky, 2009), five classes each."""

import torch
from torch import Tensor

CIFAR100 = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium-sized mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}


def superclasses(dataset: str, classes: list[str]) -> Tensor | None:
    """Return the superclass of each class, indices `[K]` in the order above, or None for another data set."""
    if dataset != "cifar100":
        return None
    index_of = {name: index for index, names in enumerate(CIFAR100.values()) for name in names.split()}
    return torch.tensor([index_of[name] for name in classes]) if set(classes) <= set(index_of) else None


def superclass_names(dataset: str, classes: list[str]) -> list[str] | None:
    """Return the name of the superclass of each class, or None for another data set than CIFAR-100."""
    groups, names = superclasses(dataset, classes), list(CIFAR100)
    return None if groups is None else [names[group] for group in groups.tolist()]
