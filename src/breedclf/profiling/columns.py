"""Number columns of a profile: numpy arrays in memory, short plain lists in JSON."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import PlainSerializer, PlainValidator

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SECONDS_DECIMALS = 7


def _read_floats(value: Any) -> FloatArray:
    try:
        array: FloatArray = np.asarray(
            value if not isinstance(value, list) else [_float(item) for item in value], dtype=np.float64
        )
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a column of numbers is needed: {error}") from error
    _check_one_dimensional(array)
    return array


def _read_ints(value: Any) -> IntArray:
    try:
        array: npt.NDArray[Any] = np.asarray(value)
        whole: IntArray = array.astype(np.int64)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"a column of whole numbers is needed: {error}") from error
    if array.size and not np.array_equal(whole, array):
        raise ValueError("a column of whole numbers is needed")
    _check_one_dimensional(whole)
    return whole


def _float(item: Any) -> float:
    """`null` and the words of non-finite numbers, which JSON has no literals for, come back as numbers."""
    return float("nan") if item is None else float(item)


def _check_one_dimensional(array: npt.NDArray[Any]) -> None:
    if array.ndim != 1:
        raise ValueError(f"a column has one dimension, not {array.ndim}")


def _write_seconds(array: FloatArray) -> list[Any]:
    """Tenths of a microsecond are kept: more is noise, and takes room."""
    if not np.isfinite(array).all():
        return _write_floats(array)
    return [int(v) if v == int(v) else v for v in np.round(array, SECONDS_DECIMALS).tolist()]


def _write_floats(array: FloatArray) -> list[Any]:
    """Seven figures are kept; what is no number becomes `null`, `"inf"` or `"-inf"`."""
    return [_written(value) for value in array.tolist()]


def _written(value: float) -> float | int | str | None:
    if value != value:
        return None
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    short = float(f"{value:.7g}")
    return int(short) if short == int(short) else short


Seconds = Annotated[FloatArray, PlainValidator(_read_floats), PlainSerializer(_write_seconds)]
Floats = Annotated[FloatArray, PlainValidator(_read_floats), PlainSerializer(_write_floats)]
Ints = Annotated[IntArray, PlainValidator(_read_ints), PlainSerializer(lambda array: array.tolist())]


def floats() -> FloatArray:
    """An empty column of numbers."""
    return np.empty(0)


def ints() -> IntArray:
    """An empty column of whole numbers."""
    return np.empty(0, dtype=np.int64)
