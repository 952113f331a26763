"""Rows gathered in one tensor."""

from __future__ import annotations

import pytest
import torch

from breedclf.runtime.row_buffer import RowBuffer


@pytest.mark.parametrize("expected", [0, 1, 5, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_rows_of_any_number_and_type_come_back_in_order(expected: int, dtype: torch.dtype) -> None:
    rows = torch.arange(18).reshape(9, 2).to(dtype)
    buffer = RowBuffer(expected)
    for part in rows.split([1, 0, 4, 4]):
        buffer.append(part)
    assert len(buffer) == 9
    assert torch.equal(buffer.values, rows) and buffer.values.dtype == dtype
    assert torch.equal(buffer.tensor(), rows)


def test_the_tensor_takes_no_more_memory_than_its_rows() -> None:
    buffer = RowBuffer(100)
    buffer.append(torch.ones(3, 4))
    assert buffer.tensor().untyped_storage().nbytes() == 3 * 4 * 4
    assert buffer.values.untyped_storage().nbytes() == 100 * 4 * 4


def test_no_row_is_moved_while_as_many_arrive_as_expected() -> None:
    buffer = RowBuffer(4)
    buffer.append(torch.ones(1, 2))
    memory = buffer.values.data_ptr()
    buffer.append(torch.ones(3, 2))
    assert buffer.values.data_ptr() == memory == buffer.tensor().data_ptr()


def test_a_given_shape_and_type_hold_without_rows_and_for_rows_of_another_type() -> None:
    buffer = RowBuffer(0, torch.empty(0, 3))
    assert buffer.tensor().shape == (0, 3)
    buffer.append(torch.ones(2, 3, dtype=torch.bfloat16))
    assert buffer.tensor().dtype == torch.float32
