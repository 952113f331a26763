"""Pictures of a list, decoded and cropped into chunks by loader processes or threads, with what that took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from breedclf.data.decoding import decode_image
from breedclf.data.formats.color import Color
from breedclf.data.images import read_file
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ImageError
from breedclf.runtime.device import LoaderSettings
from breedclf.runtime.threads import chunks_ahead
from breedclf.runtime.workers import loader_errors, start_method


class Loaded(NamedTuple):
    """An upright picture, uint8 [3, H, W], the seconds that reading it took, and those of a processor to decode it."""

    picture: torch.Tensor
    read_seconds: float
    decode_seconds: float


class ImageSource(Protocol):
    """A list of pictures that can be had one by one, from several processes."""

    def __len__(self) -> int: ...

    def load(self, index: int, enough_px: int | None = None, color: Color = "as_stored") -> Loaded:
        """One of them; `enough_px` and `color` as in `decode_image`.

        Raises:
            ImageError: it can't be read.
        """
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Pictures as the files that they are, read and decoded each time."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int, enough_px: int | None = None, color: Color = "as_stored") -> Loaded:
        started = time.perf_counter()
        data = read_file(self.paths[index])
        read, begun = time.perf_counter() - started, time.thread_time()
        picture = decode_image(data, str(self.paths[index]), enough_px=enough_px, color=color)
        return Loaded(picture, read, time.thread_time() - begun)


class Chunk(NamedTuple):
    """Some pictures of a list: uint8 [N, 3, H, W], their positions int64 [N], and the unreadable ones' reasons.

    `seconds` is what all of them took to read, and of a processor's time to decode and to transform.
    """

    pictures: torch.Tensor
    positions: torch.Tensor
    bad: dict[int, str]
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Item(NamedTuple):
    """One picture: uint8 [3, H, W], or None and the reason; seconds to read, decode and transform it."""

    position: int
    picture: torch.Tensor | None
    reason: str
    seconds: tuple[float, float, float]


class ViewDataset(Dataset[Item]):
    """Pictures of a list in one view."""

    def __init__(
        self, pictures: ImageSource, indices: Sequence[int] | None, preprocessing: Preprocessing, view: int, seed: int
    ) -> None:
        self.pictures = pictures
        self.indices = range(len(pictures)) if indices is None else indices
        self.preprocessing = preprocessing
        self.view = view
        self.seed = seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Item:
        index = self.indices[position]
        try:
            loaded = self.pictures.load(index, self.preprocessing.enough_px(self.view), self.preprocessing.color)
        except ImageError as error:
            return Item(position, None, str(error), (0.0, 0.0, 0.0))
        started = time.thread_time()
        view = self.preprocessing.view(loaded.picture, self.view, seed=self.seed, index=index)
        seconds = (loaded.read_seconds, loaded.decode_seconds, time.thread_time() - started)
        return Item(position, view, "", seconds)


def collate(items: list[Item]) -> Chunk:
    """The readable ones in one tensor."""
    good = [item for item in items if item.picture is not None]
    read, decode, transform = (sum(item.seconds[i] for item in good) for i in range(3))
    return Chunk(
        torch.stack([item.picture for item in good if item.picture is not None])
        if good
        else torch.empty(0, dtype=torch.uint8),
        torch.tensor([item.position for item in good], dtype=torch.int64),
        {item.position: item.reason for item in items if item.picture is None},
        (read, decode, transform),
    )


class LoadedChunks:
    """The chunks of a dataset in order, by loader processes, or by the loop itself where there are none."""

    def __init__(self, dataset: ViewDataset, chunk_size: int, settings: LoaderSettings) -> None:
        self.workers = settings.workers
        self._loader: DataLoader[Chunk] = DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_size=chunk_size,
            num_workers=settings.workers,
            pin_memory=settings.pin_memory,
            prefetch_factor=settings.prefetch,
            multiprocessing_context=start_method() if settings.workers else None,
            collate_fn=collate,
            generator=torch.Generator(),  # leaves the caller's random state alone
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Chunk]:
        with loader_errors(self.workers):
            yield from self._loader


class ThreadedChunks:
    """The chunks of a dataset in order, decoded by threads of this process, the next one while a chunk is in use."""

    def __init__(self, dataset: ViewDataset, chunk_size: int, threads: int) -> None:
        self.dataset = dataset
        self.chunk_size = chunk_size
        self.threads = threads

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.chunk_size)

    def __iter__(self) -> Iterator[Chunk]:
        positions = range(len(self.dataset))
        for items in chunks_ahead(self.dataset.__getitem__, positions, self.chunk_size, self.threads):
            yield collate(items)
