"""Folds are even over the classes, keep groups together, and leave each class something to train on."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from breedclf.errors import DataError
from breedclf.training.folds.stratified import ALWAYS_TRAINED, stratified_folds


def test_every_class_is_spread_evenly() -> None:
    targets = [0] * 50 + [1] * 23 + [2] * 7
    folds = stratified_folds(targets, [""] * 80, seed=3)
    for target, size in Counter(targets).items():
        counts = Counter(fold for fold, other in zip(folds, targets, strict=True) if other == target)
        assert sorted(counts) == list(range(5))
        assert max(counts.values()) - min(counts.values()) <= 1, (target, size, counts)
    sizes = Counter(folds).values()
    assert max(sizes) - min(sizes) <= 2


def test_the_seed_decides() -> None:
    targets = [0, 1] * 30
    first = stratified_folds(targets, [""] * 60, seed=0)
    assert stratified_folds(targets, [""] * 60, seed=0) == first
    assert stratified_folds(targets, [""] * 60, seed=1) != first


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_together_and_classes_stay_trainable(seed: int) -> None:
    draw = random.Random(seed)
    targets = [draw.randrange(4) for _ in range(60)]
    groups = [draw.choice(["", *"abcdefgh"]) for _ in range(60)]
    folds = stratified_folds(targets, groups, seed)
    for group in set(groups) - {""}:
        assert len({fold for fold, other in zip(folds, groups, strict=True) if other == group}) == 1
    for fold in set(folds) - {ALWAYS_TRAINED}:
        assert {target for target, other in zip(targets, folds, strict=True) if other != fold} == set(targets)


def test_a_class_with_two_images_is_in_two_of_five_folds() -> None:
    folds = stratified_folds([0] * 20 + [1] * 2, [""] * 22, seed=0)
    assert len(set(folds)) == 5
    assert folds[20] != folds[21]


def test_the_only_image_or_group_of_a_class_is_always_trained() -> None:
    folds = stratified_folds([0] * 6 + [1] + [2] * 3, [""] * 7 + ["same"] * 3, seed=0)
    assert folds[6:] == [ALWAYS_TRAINED] * 4
    assert ALWAYS_TRAINED not in folds[:6]


def test_folds_are_fewer_where_no_class_has_as_many_groups() -> None:
    assert set(stratified_folds([0, 0, 1, 1], [""] * 4, seed=0)) == {0, 1}


@pytest.mark.parametrize(("targets", "groups"), [([0, 1], ["", ""]), ([0, 0, 1, 1], ["a", "a", "b", "b"])])
def test_nothing_can_be_evaluated(targets: list[int], groups: list[str]) -> None:
    with pytest.raises(DataError, match="every class has a single image, or a single group"):
        stratified_folds(targets, groups, seed=0)
