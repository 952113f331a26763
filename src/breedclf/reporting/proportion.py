"""The interval of a proportion, such as an accuracy."""

from __future__ import annotations

import math

NORMAL_95 = 1.959963984540054


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a proportion; it is also valid for few images, and for 0% and 100%.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Raises:
        ValueError: `count` isn't positive, or `correct` isn't from 0 to `count`.

    Example:
        >>> tuple(round(bound, 4) for bound in wilson_interval(47, 50))
        (0.8378, 0.9794)
    """
    if count < 1 or not 0 <= correct <= count:
        raise ValueError(f"{correct} of {count} is not a proportion")
    share, square = correct / count, NORMAL_95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    # At the ends the formula gives 0 and 1 up to rounding, which must not cut off the proportion itself.
    return (0.0 if correct == 0 else center - half, 1.0 if correct == count else center + half)
