"""Number columns of a profile: numpy arrays in memory, short plain lists in JSON."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SECONDS_DECIMALS = 7
MOST_SECONDS = 1e11  # larger than any real timestamp, and still a valid date
LARGEST = 1e100  # its square is still a number
_LARGEST_INT = 2.0**53
_CLOCK_NOISE = 1e-6
_DEEPEST = 32  # levels of nesting in settings and details


def _read_floats(value: Any) -> FloatArray:
    """Numbers that can be summed and squared safely; larger ones, such as an exploding loss, become infinite."""
    array = _numbers(value)
    return np.where(np.abs(array) > LARGEST, np.copysign(np.inf, array), array)


def _numbers(value: Any) -> FloatArray:
    try:
        array: FloatArray = np.asarray(
            value if not isinstance(value, list) else [_float(item) for item in value], dtype=np.float64
        )
    except (TypeError, OverflowError) as error:
        raise ValueError(f"expected a column of numbers: {error}") from error
    _check_one_dimensional(array)
    return array


def _read_seconds(value: Any) -> FloatArray:
    array = _numbers(value)
    _check_range(array, -MOST_SECONDS, MOST_SECONDS)
    return array


def _read_durations(value: Any) -> FloatArray:
    array = _numbers(value)
    _check_range(array, -_CLOCK_NOISE, MOST_SECONDS)
    return np.maximum(array, 0.0)


def _check_range(array: FloatArray, low: float, high: float) -> None:
    wrong = array[~((array >= low) & (array <= high))]
    if len(wrong):
        lowest = 0 if low == -_CLOCK_NOISE else low
        raise ValueError(f"{wrong[0]:g} is not between {lowest:g} and {high:g}")


def _read_ints(value: Any) -> IntArray:
    try:
        array: npt.NDArray[Any] = np.asarray(value)
        if array.dtype.kind == "f":
            _check_range(array, -_LARGEST_INT, _LARGEST_INT)
        whole: IntArray = array.astype(np.int64)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"expected a column of whole numbers: {error}") from error
    if array.size and (array.dtype.kind not in "iuf" or not np.array_equal(whole, array)):
        raise ValueError("expected a column of whole numbers")
    _check_one_dimensional(whole)
    return whole


def _float(item: Any) -> float:
    """Read `null` as NaN, and "inf" and "-inf" as numbers: JSON has no literals for them."""
    return float("nan") if item is None else float(item)


def _check_one_dimensional(array: npt.NDArray[Any]) -> None:
    if array.ndim != 1:
        raise ValueError(f"a column must have one dimension, not {array.ndim}")


def _write_seconds(array: FloatArray) -> list[Any]:
    """Round to tenths of a microsecond: further digits are noise and make the file larger."""
    return [int(v) if v == int(v) else v for v in np.round(array, SECONDS_DECIMALS).tolist()]


def _write_floats(array: FloatArray) -> list[Any]:
    """Round to seven digits; NaN and infinities become `null`, `"inf"` or `"-inf"`."""
    return [_written(value) for value in array.tolist()]


def _written(value: float) -> float | int | str | None:
    if value != value:
        return None
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    short = float(f"{value:.7g}")
    return int(short) if short == int(short) else short


def plain_json(value: Any, depth: int = 0) -> Any:
    """Convert a value to plain JSON types: non-finite numbers become None, other objects their text.

    Raises:
        ValueError: if it is nested too deeply.
    """
    if depth > _DEEPEST:
        raise ValueError(f"values are nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        return {str(name): plain_json(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(each, depth + 1) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


Seconds = Annotated[FloatArray, PlainValidator(_read_seconds), PlainSerializer(_write_seconds)]
Durations = Annotated[FloatArray, PlainValidator(_read_durations), PlainSerializer(_write_seconds)]
Floats = Annotated[FloatArray, PlainValidator(_read_floats), PlainSerializer(_write_floats)]
Ints = Annotated[IntArray, PlainValidator(_read_ints), PlainSerializer(lambda array: array.tolist())]
Moment = Annotated[float, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]  # seconds since 1970
Length = Annotated[float, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]  # seconds
Amount = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=int(_LARGEST_INT))]
JsonObject = Annotated[dict[str, Any], AfterValidator(plain_json)]


def floats() -> FloatArray:
    """An empty column of numbers."""
    return np.empty(0)


def ints() -> IntArray:
    """An empty column of whole numbers."""
    return np.empty(0, dtype=np.int64)
