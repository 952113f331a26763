"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from breedclf.reporting import axes, formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.567, "1,235"), (99999.6, "100,000"), (-0.5, "-0.5"), (0.1832, "0.1832"), (3e-7, "3e-07"),
     (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "–")],
)  # fmt: skip
def test_plain(value: float, text: str) -> None:
    assert formats.plain(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (5e-6, "5 µs"), (0.25, "250 ms"), (1.5, "1.5 s"), (59.4, "59.4 s"), (120, "2 min"),
     (75.2, "1 min 15 s"),
     (3600, "1 h"), (90000, "25 h"), (-2, "−2 s"), (math.nan, "–")],
)  # fmt: skip
def test_seconds(value: float, text: str) -> None:
    assert formats.seconds(value) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_a_text(value: float) -> None:
    for form in (formats.plain, formats.whole, formats.percent, formats.seconds):
        assert form(value)


finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


@given(finite, st.floats(min_value=1e-6, max_value=1e9), st.integers(2, 10))
def test_ticks_lie_within_the_range_and_are_few(low: float, width: float, most: int) -> None:
    high = low + width
    if high - low < abs(low) * 1e-9:
        return
    ticks = axes.linear_ticks(low, high, most)
    assert len(ticks) <= max(most, 2)
    assert ticks == sorted(ticks)
    assert all(low - width * 1e-6 <= tick <= high + width * 1e-6 for tick in ticks)


@given(st.floats(min_value=1e-9, max_value=1e3), st.floats(min_value=1.001, max_value=1e9), st.integers(2, 10))
def test_logarithmic_ticks_lie_within_the_range(low: float, factor: float, most: int) -> None:
    ticks = axes.log_ticks(low, low * factor, most)
    assert 2 <= len(ticks) <= max(most, 2)
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


@given(st.lists(st.floats(), max_size=20), st.booleans(), st.booleans())
def test_a_span_is_never_empty_and_holds_what_it_can_show(values: list[float], from_zero: bool, log: bool) -> None:
    values = [value for value in values if not abs(value) > 1e150]
    low, high = axes.span(values, from_zero=from_zero, log=log)
    assert low < high
    assert all(low <= v <= high for v in axes.usable(axes.np.asarray(values, dtype=float), log=log) if abs(v) > 1e-150)
