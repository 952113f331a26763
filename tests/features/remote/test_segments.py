"""Index objects and ranges: what a job reads of a feature set in S3."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from breedclf.features.remote import ranges
from breedclf.features.remote.ranges import ranges_of
from breedclf.features.remote.segments import SegmentIndex, checksums_of
from breedclf.features.store.row_type import RowType, as_bytes


def index_of(values: torch.Tensor, seed: int = 0) -> SegmentIndex:
    digests = np.random.default_rng(seed).integers(0, 256, (len(values), 16), dtype=np.uint8)
    row_type = RowType.of(values)
    checksums = checksums_of(digests, as_bytes(values), row_type)
    return SegmentIndex(row_type, (f"{seed}.rows",), (len(values),), digests, checksums)


def test_an_index_is_read_as_it_was_written() -> None:
    index = index_of(torch.randn(5, 3, 2).bfloat16())
    found = SegmentIndex.from_bytes(index.to_bytes())
    assert (found.row_type, found.segments, found.counts, found.covers) == (
        RowType("bfloat16", (3, 2)),
        ("0.rows",),
        (5,),
        (),
    )
    assert np.array_equal(found.digests, index.digests)
    assert np.array_equal(found.checksums, index.checksums)


@pytest.mark.parametrize("cut", [0, 4, 60, -1])
def test_a_damaged_index_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="damaged"):
        SegmentIndex.from_bytes(index_of(torch.randn(5, 3)).to_bytes()[:cut])


def test_an_index_of_a_later_version_or_with_other_names_is_refused() -> None:
    content = index_of(torch.randn(5, 3)).to_bytes()
    with pytest.raises(ValueError, match="its format is 9, not 1"):
        SegmentIndex.from_bytes(content.replace(b'"format":"1"', b'"format":"9"'))
    with pytest.raises(ValueError, match="fit together"):
        SegmentIndex.from_bytes(content.replace(b"0.rows", b"/.rows"))
    with pytest.raises(ValueError, match="fit together"):
        SegmentIndex.from_bytes(content.replace(b'"counts":"[5]"', b'"counts":"[4]"'))


def test_a_changed_bit_image_or_shape_changes_the_checksum() -> None:
    values = torch.randn(2, 4)
    index = index_of(values)
    changed = as_bytes(values).copy()
    changed[1, 4] ^= 1
    assert (checksums_of(index.digests, changed, index.row_type) == index.checksums).tolist() == [True, False]
    swapped = checksums_of(index.digests[::-1].copy(), as_bytes(values), index.row_type)
    assert not (swapped == index.checksums).any()
    other = checksums_of(index.digests, as_bytes(values), RowType("float32", (2, 2)))
    assert not (other == index.checksums).any()


def test_a_merged_index_has_the_rows_of_all_and_their_names() -> None:
    one, other = index_of(torch.randn(2, 4), 1), index_of(torch.randn(3, 4), 2)
    merged = SegmentIndex.from_bytes(SegmentIndex.merged([("a.index", one), ("b.index", other)]).to_bytes())
    assert (merged.segments, merged.counts) == (("1.rows", "2.rows"), (2, 3))
    assert merged.covers == ("a.index", "b.index")
    assert np.array_equal(merged.digests, np.concatenate([one.digests, other.digests]))


@given(st.sets(st.integers(0, 400)), st.sampled_from([1, 100_000, 3_000_000, 20_000_000]))
def test_ranges_contain_every_row_once_and_little_else(rows: set[int], row_bytes: int) -> None:
    found = ranges_of(sorted(rows), 401, row_bytes)
    read = [row for each in found for row in range(each.first, each.end)]
    assert read == sorted(set(read))
    assert rows <= set(read)
    assert all(each.end - each.first == 1 or (each.end - each.first) * row_bytes <= ranges.MAX_BYTES for each in found)
    if len(rows) < 200:  # less than half: no gap between rows that is read is wide
        gaps = sorted(rows)
        unread = sum(
            after - before - 1
            for before, after in pairwise(gaps)
            if (after - before - 1) * row_bytes > ranges.GAP_BYTES
        )
        assert len(read) == (max(rows) - min(rows) + 1 - unread if rows else 0)
    else:
        assert len(read) == 401
