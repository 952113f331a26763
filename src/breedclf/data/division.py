"""Divide images among splits at random, by a seed: class by class, or by groups that must not be split apart."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from breedclf.errors import DataError

T = TypeVar("T", bound=Any)  # anything that can be sorted


def divided_by_class(
    by_label: Mapping[str, Sequence[T]], shares: Mapping[str, float], seed: int
) -> dict[str, dict[str, list[T]]]:
    """Move a share of every class to each further split: at least one image, if enough are left for training."""
    parts: dict[str, dict[str, list[T]]] = {name: {} for name in ("train", *shares)}
    for label, images in by_label.items():
        left = list(images)
        random.Random(f"{seed}/{label}").shuffle(left)
        for name, share in shares.items():
            share_size = max(1, round(share * len(images))) if share else 0
            train_minimum = 2 if len(images) > 2 else 1
            take = max(0, min(share_size, len(left) - train_minimum))
            parts[name][label], left = sorted(left[:take]), left[take:]
        parts["train"][label] = sorted(left)
    return parts


def divided_positions(labels: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """The positions of the images of each split, in their order, divided class by class.

    Args:
        labels: the class of each image.
        shares: the share of each further split.
        seed: of the random division.

    Example:
        >>> divided_positions(["cat", "dog", "cat", "dog", "cat", "dog"], {"valid": 0.3}, 0)["valid"]
        [1, 2]
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for at, label in enumerate(labels):
        by_label[label].append(at)
    divided = divided_by_class(by_label, shares, seed)
    return {
        name: sorted(at for positions in of_label.values() for at in positions) for name, of_label in divided.items()
    }


def divided_by_group(labels: Sequence[str], groups: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    """The split of each image, close to the shares in every class, so that a group is never split apart.

    The largest groups are assigned first, each to the split that it brings closest to its share. A class whose images
    are all in one group stays in training. An image without a group is a group of its own.

    Args:
        labels: the class of each image.
        groups: the group of each image; empty for none.
        shares: the share of each further split.
        seed: the order of groups of equal size.

    Raises:
        DataError: valid gets no images, since the groups are too large.

    Example:
        >>> divided_by_group(["cat", "cat", "dog", "dog"], ["a", "b", "a", "b"], {"valid": 0.5}, 0).count("valid")
        2
    """
    members: dict[str, list[int]] = defaultdict(list)
    for at, group in enumerate(groups):
        members[f"group {group}" if group else f"image {at}"].append(at)
    counts = {group: Counter(labels[at] for at in images) for group, images in members.items()}
    order = sorted(members)
    random.Random(f"{seed}/groups").shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    split_of = _assigned(order, counts, Counter(labels), {"train": 1 - sum(shares.values()), **shares})
    found = [""] * len(labels)
    for group, images in members.items():
        for at in images:
            found[at] = split_of[group]
    if "valid" in shares and "valid" not in found:
        raise DataError(
            f"the images can't be divided: training needs each of the {len(members):,} groups, so none is left for "
            "valid; use smaller groups, or a column split"
        )
    return found


def _assigned(
    order: Sequence[str], counts: Mapping[str, Counter[str]], totals: Counter[str], shares: Mapping[str, float]
) -> dict[str, str]:
    taken: dict[str, Counter[str]] = {name: Counter() for name in shares}
    groups_left = Counter(label for of_group in counts.values() for label in of_group)
    split_of = {}
    for group in order:
        of_group = counts[group]
        # the last group that can give training images of a class must go there
        needed = any(groups_left[label] == 1 and not taken["train"][label] for label in of_group)
        groups_left.subtract(of_group.keys())
        name = "train" if needed else min(shares, key=lambda name: _cost(of_group, taken[name], totals, shares[name]))
        taken[name] += of_group
        split_of[group] = name
    if "valid" in shares and not taken["valid"]:  # few groups: the smallest that training can spare
        for group in reversed(order):
            if split_of[group] == "train" and all(taken["train"][label] > n for label, n in counts[group].items()):
                split_of[group] = "valid"
                break
    return split_of


def _cost(of_group: Counter[str], taken: Counter[str], totals: Counter[str], share: float) -> float:
    """How much farther the split is from its share of each class with this group than without it."""
    cost = 0.0
    for label, count in of_group.items():
        target = share * totals[label]
        off = taken[label] - target
        cost += ((off + count) ** 2 - off**2) / totals[label] / max(share, 1e-9)
    return cost
