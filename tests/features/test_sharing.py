"""Processes that share a pass compute each image once, whichever folders they use; here each one is a thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributed import HashStore, PrefixStore  # type: ignore[attr-defined]  # documented, but not in __all__

from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.errors import DataError, ImageError
from breedclf.features.digests import ContentDigests, digests_of
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.pass_share import ALONE, PassShare, Together
from breedclf.features.sharing import agreed_digests
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts, StoredPass
from breedclf.features.values import Features
from breedclf.runtime.device import Compute
from breedclf.training.together import working_together

T = TypeVar("T")
IMAGES = 23
Outcome = tuple[Features, FeatureCounts]


class Group:
    """What the processes exchange with."""

    def __init__(self, count: int) -> None:
        self.barrier, self.values, self.store = threading.Barrier(count, timeout=30), [None] * count, HashStore()


class Thread:
    """A `PassShare` of threads; the operations are those of torch.distributed."""

    def __init__(self, group: Group, rank: int) -> None:
        self._group, self.rank, self.count, self._uses = group, rank, len(group.values), 0

    def from_all(self, value: T) -> list[T]:
        self._group.values[self.rank] = value  # type: ignore[call-overload]
        self._group.barrier.wait()
        values: list[Any] = list(self._group.values)
        self._group.barrier.wait()
        return values

    def from_first(self, value: T) -> T:
        return self.from_all(value)[0]

    def lowest(self, values: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.from_all(values)).amin(0)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.from_all(values)).sum(0, dtype=values.dtype)

    @contextmanager
    def together(self) -> Iterator[Together]:
        self._uses += 1
        with working_together(PrefixStore(str(self._uses), self._group.store), self.rank, self.count) as together:
            yield together


class MeanColors(nn.Module):
    """A backbone."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.mean((2, 3)), images.amax((2, 3))], 1)


def extractor(**changes: Any) -> FeatureExtractor:
    settings: dict[str, Any] = {"weights_fingerprint": "mean colors", "chunk_size": 4, "workers": 0} | changes
    return FeatureExtractor(
        MeanColors, Preprocessing(resize_px=16, crop_px=16), Compute(torch.device("cpu"), "fp32"), **settings
    )


@pytest.fixture
def images(tmp_path: Path) -> ImageFiles:
    """Images of which two are the same."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (IMAGES - 1, 20, 20, 3)).astype(np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        Image.fromarray(pixels[min(number, IMAGES - 2)]).save(folder / f"{number:02}.png")
    return ImageFiles(sorted(folder.iterdir()))


def run(
    images: ImageFiles, stores: Sequence[FeatureStore | None], digests: ContentDigests | None = None, **changes: Any
) -> list[Any]:
    """What the pass of each process returns or raises; `changes` are lists with one value for each."""
    group, digests = Group(len(stores)), digests or digests_of(images)

    def run_one(rank: int) -> object:
        share: PassShare = Thread(group, rank) if len(stores) > 1 else ALONE
        own = extractor(**{name: values[rank] for name, values in changes.items()})
        stored_pass = StoredPass(own, images, digests, 0, "images", lambda _: None, share)
        try:
            found, counts = stored_pass.run(stores[rank])
        except Exception as error:  # noqa: BLE001 - compared by the tests
            return error
        return found.loaded(), counts

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(run_one, range(len(stores))))


def rows_in(store: FeatureStore) -> int:
    """How many rows were ever written to the shards of a store."""
    (index,) = store.folder.rglob("index.sqlite")
    with sqlite3.connect(index) as database:
        return int(database.execute("SELECT SUM(rows) FROM shards").fetchone()[0])


@pytest.fixture
def alone(images: ImageFiles) -> torch.Tensor:
    ((features, counts),) = run(images, [None])
    assert counts == FeatureCounts(IMAGES - 1, 1)
    values: torch.Tensor = features.values
    return values


def check(outcomes: Sequence[Outcome], alone: torch.Tensor, computed: int = IMAGES - 1) -> None:
    for features, counts in outcomes:
        assert torch.equal(features.values, alone)
        assert features.kept.tolist() == list(range(IMAGES))
        assert counts == FeatureCounts(computed, IMAGES - computed)


def test_processes_with_one_folder_write_each_image_once(
    images: ImageFiles, alone: torch.Tensor, tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path / "store")
    check(run(images, [store] * 3), alone)
    assert rows_in(store) == IMAGES - 1
    check(run(images, [store] * 2), alone, computed=0)
    assert not list(store.folder.rglob("*.token"))


def test_each_folder_gets_what_another_has_computed_now_or_earlier(
    images: ImageFiles, alone: torch.Tensor, tmp_path: Path
) -> None:
    one, other, third = (FeatureStore(tmp_path / name) for name in ("one", "other", "third"))
    check(run(images, [one, one, other, other]), alone)
    assert (rows_in(one), rows_in(other)) == (IMAGES - 1, IMAGES - 1)
    check(run(images, [third, other, third]), alone, computed=0)
    assert rows_in(third) == IMAGES - 1


@pytest.mark.parametrize("first_works", [True, False], ids=["first-works", "second-works"])
def test_a_process_without_a_folder_computes_its_part_and_receives_the_rest(
    images: ImageFiles, alone: torch.Tensor, tmp_path: Path, first_works: bool
) -> None:
    (tmp_path / "file").touch()
    stores = [FeatureStore(tmp_path / "store"), FeatureStore(tmp_path / "file" / "store")]
    check(run(images, stores if first_works else stores[::-1]), alone)
    assert rows_in(stores[0]) == IMAGES - 1


def test_without_any_store_the_features_are_sent(images: ImageFiles, alone: torch.Tensor) -> None:
    check(run(images, [None, None]), alone)


def test_an_unreadable_image_is_skipped_or_raised_in_all(images: ImageFiles, tmp_path: Path) -> None:
    for damaged in (images.paths[5], images.paths[17]):
        damaged.write_bytes(b"no image")
    stores = [FeatureStore(tmp_path / "store")] * 2
    for features, counts in run(images, stores):
        assert sorted(features.bad) == [5, 17]
        assert len(features.kept) == IMAGES - 2
        assert counts.computed == IMAGES - 3  # two are the same, and two are damaged
    errors = run(images, stores, stop_at_bad=[True] * 2)
    assert [type(error) for error in errors] == [ImageError] * 2
    assert str(errors[0]) == str(errors[1])


@pytest.mark.parametrize("names", [("one", "one"), ("one", "other")], ids=["one-folder", "two-folders"])
def test_an_image_that_changes_after_its_digest_was_taken_is_in_every_folder_as_it_is(
    images: ImageFiles, tmp_path: Path, names: tuple[str, str]
) -> None:
    stale = digests_of(images)
    stale.values[[1, 6]] = [[7], [8]]  # each process computes one of them
    stores = [FeatureStore(tmp_path / name) for name in names]
    first, second = run(images, stores, stale)
    assert torch.equal(first[0].values, second[0].values)
    assert first[1] == FeatureCounts(IMAGES - 1, 1)
    for store in stores:
        ((_, counts),) = run(images, [store])
        assert counts.computed == 0
    ((_, counts),) = run(images, stores[:1], stale)
    assert counts.computed == 2


def test_processes_that_would_compute_other_bits_compute_all_images_themselves(
    images: ImageFiles, alone: torch.Tensor, tmp_path: Path
) -> None:
    stores = [FeatureStore(tmp_path / "store")] * 2
    check(run(images, stores, engine=["one", "other"]), alone)


def test_another_run_is_waited_for(
    images: ImageFiles, alone: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("breedclf.features.sharing._LOCK_SECONDS", 0.01)
    one, other = FeatureStore(tmp_path / "one"), FeatureStore(tmp_path / "other")
    with other.open(extractor().spec(0)) as held, ThreadPoolExecutor(1) as pool:
        with held.computing(digests_of(images).values):
            pending = pool.submit(run, images, [one, other], None)
            with pytest.raises(TimeoutError):
                pending.result(0.3)
        check(pending.result(30), alone)


def agreed(*given: ImageFiles) -> list[Any]:
    group = Group(len(given))

    def agree(rank: int) -> object:
        try:
            return agreed_digests(Thread(group, rank), digests_of(given[rank]))
        except DataError as error:
            return error

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(agree, range(len(given))))


def test_the_first_process_s_digests_count_and_other_numbers_of_images_are_refused(images: ImageFiles) -> None:
    swapped = ImageFiles([images.paths[1], images.paths[0], *images.paths[2:]])
    one, other = agreed(images, swapped)
    assert one.fingerprint == other.fingerprint == digests_of(images).fingerprint
    for error in agreed(images, ImageFiles(images.paths[1:])):
        assert "the processes found different numbers of images: 23, 22" in str(error)
