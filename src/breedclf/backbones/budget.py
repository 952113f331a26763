"""What a comparison may cost: which candidates fit into the budget, and on how many images."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from breedclf.errors import ConfigError
from breedclf.reporting.formats import seconds as duration

FEWEST_PER_CLASS = 5
"""Images per class of the smallest subset that is worth a comparison; all of a class that has fewer."""
_FEATURES_SHARE = 0.9
"""Of the time that is left; the rest is for heads and for passes that are slower than the timed one."""
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]*)")


def budget_in_seconds(text: str) -> float:
    """The seconds of a duration such as 90s, 20m or 1h; a number alone is seconds.

    Raises:
        ConfigError: it isn't a positive duration.

    Example:
        >>> budget_in_seconds("20m"), budget_in_seconds("1.5h"), budget_in_seconds("90")
        (1200.0, 5400.0, 90.0)
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise ConfigError(f"budget={text!r} isn't a duration: write seconds, or 90s, 20m, 1h")
    return float(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True)
class Cost:
    """What the features of a candidate cost: seconds per image, and which images are computed already."""

    seconds_per_image: float
    stored: frozenset[int] = frozenset()

    def seconds(self, images: Sequence[int]) -> float:
        """The seconds for these images."""
        return self.seconds_per_image * sum(at not in self.stored for at in images)


@dataclass(frozen=True)
class BudgetPlan:
    """The candidates to compare and the positions of the images; `left_out` gives the reason for each other one."""

    candidates: tuple[str, ...]
    images: tuple[int, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def planned(
    costs: Mapping[str, Cost], order: Sequence[int], fewest: int, *, budget_seconds: float, spent_seconds: float
) -> BudgetPlan:
    """Compare all candidates on the images that the budget allows; without the costliest if it doesn't allow `fewest`.

    Args:
        costs: the candidates, in their order.
        order: the images, so that any number of the first ones is a useful subset.
        fewest: how many of them a comparison needs.
        budget_seconds: what the whole comparison may take.
        spent_seconds: what it has taken so far.

    Raises:
        ConfigError: not even one candidate fits.
    """
    seconds = (budget_seconds - spent_seconds) * _FEATURES_SHARE
    names = list(costs)
    left_out: dict[str, str] = {}
    while names:
        count = _affordable([costs[name] for name in names], order, seconds)
        if count >= fewest:
            return BudgetPlan(tuple(names), tuple(sorted(order[:count])), left_out)
        needed = {name: costs[name].seconds(order[:fewest]) for name in names}
        worst = max(names, key=lambda name: needed[name])
        left_out[worst] = (
            f"its features of {fewest:,} images, the fewest for a comparison, would take about "
            f"{duration(needed[worst])}"
        )
        names.remove(worst)
    least = min(cost.seconds(order[:fewest]) for cost in costs.values())
    raise ConfigError(
        f"the budget of {budget_seconds:g} s is too small for one candidate: loading and timing took "
        f"{spent_seconds:.0f} s, and the features of {fewest:,} images, the fewest for a comparison, take about "
        f"{least:.0f} s with the fastest; give it at least {ceil(spent_seconds + least / _FEATURES_SHARE):,} s"
    )


def _affordable(costs: Sequence[Cost], order: Sequence[int], seconds: float) -> int:
    """How many of the first images fit."""
    spent = 0.0
    for count, at in enumerate(order):
        spent += sum(cost.seconds([at]) for cost in costs)
        if spent > seconds:
            return count
    return len(order)


def even_order(targets: Sequence[int], seed: int) -> list[int]:
    """The images in an order for subsets: FEWEST_PER_CLASS of each class first, then each class by its share.

    Example:
        >>> targets = [0] * 20 + [1] * 10
        >>> sorted(targets[at] for at in even_order(targets, 0)[:10]) == [0] * 5 + [1] * 5
        True
    """
    shuffled = list(range(len(targets)))
    random.Random(f"{seed}/order").shuffle(shuffled)
    totals, so_far = Counter(targets), Counter[int]()
    place = {}
    for at in shuffled:
        number, target = so_far[targets[at]], targets[at]
        place[at] = (number / totals[target] if number >= FEWEST_PER_CLASS else -1.0, number, target)
        so_far[target] += 1
    return sorted(shuffled, key=place.__getitem__)


def fewest_images(targets: Sequence[int]) -> int:
    """The size of the smallest subset that is worth a comparison.

    Example:
        >>> fewest_images([0] * 20 + [1] * 3)
        8
    """
    return sum(min(FEWEST_PER_CLASS, total) for total in Counter(targets).values())
