"""Class labels as people have them, names or integers, turned into class names and indices into these."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from breedclf.data.layout.names import some_names
from breedclf.errors import DataError


class ClassLabels(NamedTuple):
    """Class names, and for each image the index of its class."""

    names: tuple[str, ...]
    targets: tuple[int, ...]


def class_labels(given: Iterable[object], names: Sequence[str] | None = None) -> ClassLabels:
    """The classes of images that are labeled by name or by number.

    Args:
        given: a name or an integer per image; NumPy's and torch's integers are accepted, too.
        names: the class names in the order of the numbers. Without them, names are sorted, and each number is its own
            name.

    Raises:
        DataError: a label isn't text or an integer, or isn't one of `names`; or `names` are empty, duplicated or not
            text.

    Example:
        >>> class_labels(["bee", "ant", "bee"])
        ClassLabels(names=('ant', 'bee'), targets=(1, 0, 1))
        >>> class_labels([7, 0, 7])
        ClassLabels(names=('0', '7'), targets=(1, 0, 1))
        >>> class_labels([1, 0], ["ant", "bee"])
        ClassLabels(names=('ant', 'bee'), targets=(1, 0))
    """
    labels = _plain_list(given)
    named = None if names is None else checked_names(names)
    if labels and all(isinstance(label, str) for label in labels):
        return _of_names([str(label) for label in labels], named)
    numbers = [_number(label, position) for position, label in enumerate(labels)]
    if named is None:
        distinct = sorted(set(numbers))
        index = {number: at for at, number in enumerate(distinct)}
        return ClassLabels(tuple(str(number) for number in distinct), tuple(index[number] for number in numbers))
    return ClassLabels(named, checked_targets(numbers, len(named)))


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """The class names, if they are distinct texts.

    Raises:
        DataError: they aren't.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DataError(f"class names must be a list of text, not {names!r}")
    found = tuple(names)
    for position, name in enumerate(found):
        if not isinstance(name, str):
            raise DataError(f"class name {position} is {name!r}: class names are text")
        if not name.strip():
            raise DataError(f"class name {position} is empty: give every class a name")
    if len(set(found)) < len(found):
        twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
        raise DataError(f"class names appear more than once: {some_names(twice)}")
    return found


def checked_targets(targets: Iterable[object], classes: int) -> tuple[int, ...]:
    """The targets as Python integers, if all are indices of classes.

    Raises:
        DataError: one of them isn't.
    """
    found = tuple(_number(target, position) for position, target in enumerate(_plain_list(targets)))
    for position, target in enumerate(found):
        if target >= classes:
            raise DataError(
                f"the label of image {position} is {target}, but there are {classes} classes, numbered from 0 to "
                f"{classes - 1}"
            )
    return found


def _of_names(labels: Sequence[str], named: tuple[str, ...] | None) -> ClassLabels:
    names = checked_names(sorted(set(labels))) if named is None else named
    index = {name: at for at, name in enumerate(names)}
    if unknown := sorted(set(labels) - index.keys()):
        raise DataError(
            f"images are labeled {some_names(unknown)}, which isn't among the class names: {some_names(names)}"
        )
    return ClassLabels(names, tuple(index[label] for label in labels))


def _number(label: object, position: int) -> int:
    """A label as an integer; True and False, fractions and negative numbers aren't accepted."""
    shown = f"the label of image {position} is {label!r}"
    try:
        if isinstance(label, bool) or "bool" in str(getattr(label, "dtype", "")):
            raise TypeError
        number = operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        raise DataError(f"{shown}: labels are either all names or all integers from 0 up") from None
    if number < 0:
        raise DataError(f"{shown}: classes are numbered from 0; leave out images without a label")
    return number


def _plain_list(values: Iterable[object]) -> list[object]:
    """The values in a list; arrays and tensors of one dimension as Python's own numbers.

    Raises:
        DataError: there are several values per image.
    """
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) != 1:
        raise DataError(
            f"labels of shape {list(shape)}: give one label per image (of one-hot labels, the position of the one: "
            "labels.argmax(1))"
        )
    as_list = getattr(values, "tolist", None)
    return list(values if as_list is None else as_list())
