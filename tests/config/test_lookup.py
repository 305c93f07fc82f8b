"""The arguments of functions and classes that a yaml names."""

import pytest

from lls.config.lookup import call
from lls.errors import UserError
from lls.methods.focal import Focal
from lls.methods.onehot import OneHot


class Fixed(Focal):
    """A subclass that passes on what it does not know."""

    def __init__(self, num_classes, factor=2.0, **options):
        super().__init__(num_classes, gamma=1.0, **options)


class Plain:
    pass


class Mixed(Plain, OneHot):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)


def test_a_class_that_passes_options_on_has_the_arguments_of_its_base_classes():
    assert call(Fixed, "method", num_classes=3, reduction="sum").reduction == "sum"
    assert call(Mixed, "method", num_classes=3, reduction="sum").reduction == "sum"
    for cls in (Focal, Fixed, Mixed, OneHot):
        with pytest.raises(UserError, match=r"^method\.force: .* takes no such argument; remove the key"):
            call(cls, "method", num_classes=3, force=1)
    with pytest.raises(UserError, match=r"^method\.num_classes: .* needs it; add the key to the yaml"):
        call(Fixed, "method", reduction="sum")


def test_a_function_may_take_any_key():
    assert call(lambda **keys: keys, "network", width=3) == {"width": 3}
