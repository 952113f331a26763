"""Two classifiers on the same images: whether one is better, or the difference may be chance."""

from __future__ import annotations


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test, two-sided: how likely a difference of this size is by chance alone.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    1947; the exact test is the binomial test of the images on which the two classifiers differ.

    Args:
        only_first: images that only the first classifier predicts correctly.
        only_second: images that only the second one does.

    Raises:
        ValueError: a count is negative.

    Example:
        >>> round(mcnemar(3, 12), 4), mcnemar(0, 0)
        (0.0352, 1.0)
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"{only_first} and {only_second} are not counts of images")
    differing, fewer = only_first + only_second, min(only_first, only_second)
    ways = tail = 1
    for number in range(1, fewer + 1):
        ways = ways * (differing - number + 1) // number
        tail += ways
    return min(1.0, 2 * tail / (1 << differing))
