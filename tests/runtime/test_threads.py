"""Threads that decode: the same chunks as without them, the next one while a chunk is in use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from breedclf.data.formats.color import Color
from breedclf.data.image_source import EncodedImages, Loaded, ThreadedChunks, ViewDataset, collate
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.runtime.threads import single_core_threads


class Slow:
    """Images that tell when they are loaded."""

    def __init__(self, count: int, told: Callable[[int], None]) -> None:
        self.count, self.told = count, told

    def __len__(self) -> int:
        return self.count

    def load(  # it isn't decoded
        self,
        index: int,
        enough_px: int | None = None,  # noqa: ARG002
        color: Color = "as_stored",  # noqa: ARG002
    ) -> Loaded:
        self.told(index)
        return Loaded(torch.full((3, 256, 256), index, dtype=torch.uint8), 0.0, 0.0, bytes(16))


def dataset(images: Slow | EncodedImages) -> ViewDataset:
    return ViewDataset(images, None, Preprocessing(), 0, 0)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9])
def test_chunks_come_whole_and_in_order(count: int) -> None:
    chunks = ThreadedChunks(dataset(Slow(count, lambda index: time.sleep(0.01 * (index % 3)))), 4, threads=3)
    found = list(chunks)
    assert len(found) == len(chunks) == -(-count // 4)
    assert [position for chunk in found for position in chunk.positions.tolist()] == list(range(count))
    assert all(int(image[0, 0, 0]) == at for c in found for image, at in zip(c.images, c.positions, strict=True))


def test_they_are_those_of_the_loop_itself(tmp_path: Path) -> None:
    for number in range(5):
        Image.effect_noise((300 + number, 280), 60).convert("RGB").save(tmp_path / f"{number}.jpg")
    (tmp_path / "3.jpg").write_bytes(b"no image")
    images = dataset(EncodedImages(ImageFiles(sorted(tmp_path.iterdir()))))
    (threaded,) = ThreadedChunks(images, 8, threads=2)
    plain = collate([images[position] for position in range(5)])
    assert torch.equal(threaded.images, plain.images)
    assert threaded.positions.tolist() == plain.positions.tolist() == [0, 1, 2, 4]
    assert threaded.bad == plain.bad


def test_the_next_chunk_is_decoded_while_one_is_in_use_but_none_beyond() -> None:
    loaded: set[int] = set()
    chunks = iter(ThreadedChunks(dataset(Slow(12, loaded.add)), 4, threads=2))
    next(chunks)
    deadline = time.monotonic() + 10
    while loaded < set(range(8)) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert loaded == set(range(8))


def test_a_loop_that_ends_early_cancels_images_that_have_not_started() -> None:
    loaded: set[int] = set()

    def load(index: int) -> None:
        loaded.add(index)
        time.sleep(0.05)

    threads_before = threading.active_count()
    chunks = iter(ThreadedChunks(dataset(Slow(400, load)), 100, threads=2))
    next(chunks)
    loaded_before = len(loaded)
    chunks.close()  # type: ignore[attr-defined]
    assert len(loaded) <= loaded_before + 10
    assert threading.active_count() == threads_before


def test_decoders_keep_to_one_core_and_leave_the_others_to_the_network() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pool = single_core_threads(3)
        asked = [pool.submit(torch.get_num_threads) for _ in range(12)]
        assert {each.result() for each in asked} == {1}
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 2
        pool.shutdown()
    finally:
        torch.set_num_threads(before)
