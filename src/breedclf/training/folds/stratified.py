"""Folds for cross-validation: equal shares of every class, and no group of images in two of them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from breedclf.errors import DataError

ALWAYS_TRAINED = -1
"""The fold of images that are trained on in every fold, and never evaluated."""
MOST_FOLDS = 5


def stratified_folds(targets: Sequence[int], groups: Sequence[str], seed: int, most: int = MOST_FOLDS) -> list[int]:
    """The fold of each image, from 0; ALWAYS_TRAINED if its class would otherwise be missing from training.

    There are `most` folds, or fewer if no class has images in that many groups. Every class is in the training images
    of each fold.

    Args:
        targets: the class of each image.
        groups: the group of each image; empty for none.
        seed: the order of groups of equal size.
        most: the number of folds.

    Raises:
        DataError: no class has images in two groups, so that nothing can be evaluated.

    Example:
        >>> sorted(stratified_folds([0, 0, 0, 1, 1, 1], [""] * 6, 0, most=3))
        [0, 0, 1, 1, 2, 2]
    """
    members: dict[str, list[int]] = defaultdict(list)
    for at, group in enumerate(groups):
        members[f"group {group}" if group else f"image {at}"].append(at)
    counts = {group: Counter(targets[at] for at in images) for group, images in members.items()}
    groups_of_class = Counter(target for of_group in counts.values() for target in of_group)
    folds = min(most, max(groups_of_class.values(), default=0))
    if folds < 2:
        raise DataError(
            "every class has a single image, or a single group of images, so none can be evaluated by a model that "
            "was trained on others: add images"
        )
    fold_of = _assigned(members, counts, folds, seed)
    _keep_trainable(members, counts, fold_of)
    found = [ALWAYS_TRAINED] * len(targets)
    for group, images in members.items():
        for at in images:
            found[at] = fold_of[group]
    return found


def _assigned(members: dict[str, list[int]], counts: dict[str, Counter[int]], folds: int, seed: int) -> dict[str, int]:
    """The fold of each group: the largest first, each where its classes have the fewest images so far."""
    order = sorted(members)
    random.Random(f"{seed}/folds").shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    totals = Counter(target for of_group in counts.values() for target in of_group.elements())
    of_class: dict[int, list[int]] = defaultdict(lambda: [0] * folds)
    sizes = [0] * folds

    def cost(fold: int, of_group: Counter[int]) -> tuple[float, int, int]:
        return (
            sum(count * of_class[target][fold] / totals[target] for target, count in of_group.items()),
            sizes[fold],
            fold,
        )

    fold_of = {}
    for group in order:
        fold = fold_of[group] = min(range(folds), key=lambda fold: cost(fold, counts[group]))
        sizes[fold] += len(members[group])
        for target, count in counts[group].items():
            of_class[target][fold] += count
    return fold_of


def _keep_trainable(members: dict[str, list[int]], counts: dict[str, Counter[int]], fold_of: dict[str, int]) -> None:
    """Move the smallest group of each class whose images are all in one fold to the images that are always trained."""
    groups_of: dict[int, list[str]] = defaultdict(list)
    for group, of_group in counts.items():
        for target in of_group:
            groups_of[target].append(group)
    for groups in groups_of.values():
        if len({fold_of[group] for group in groups}) == 1 and fold_of[groups[0]] != ALWAYS_TRAINED:
            fold_of[min(groups, key=lambda group: (len(members[group]), group))] = ALWAYS_TRAINED
