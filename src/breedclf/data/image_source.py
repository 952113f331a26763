"""Lists of images, decoded and cropped into chunks by DataLoader workers or threads, with the time this took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from breedclf.data.decoding import as_tensor, decode_image
from breedclf.data.digests import DIGEST_BYTES, digest_of
from breedclf.data.formats.color import Color
from breedclf.data.images import ImageLike, pillow_image, read_file
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import SplitImages
from breedclf.errors import ImageError
from breedclf.runtime.device import LoaderSettings
from breedclf.runtime.threads import chunks_ahead
from breedclf.runtime.workers import loader_errors, start_method


class Loaded(NamedTuple):
    """An upright image, uint8 [3, H, W], with the seconds to read it (wall time) and to decode it (CPU time).

    `digest` identifies the content that was decoded.
    """

    image: torch.Tensor
    read_seconds: float
    decode_seconds: float
    digest: bytes


class ImageSource(Protocol):
    """A list of images that can be loaded one by one, also from several processes."""

    def __len__(self) -> int: ...

    def load(self, index: int, enough_px: int | None = None, color: Color = "as_stored") -> Loaded:
        """Load one image; `enough_px` and `color` as in `decode_image`.

        Raises:
            ImageError: it can't be read.
        """
        ...


@dataclass(frozen=True)
class EncodedImages:
    """Images of a split, read and decoded each time they are loaded."""

    images: SplitImages

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int, enough_px: int | None = None, color: Color = "as_stored") -> Loaded:
        started = time.perf_counter()
        image = read_encoded(self.images, index)
        read, decoding_started = time.perf_counter() - started, time.thread_time()
        if isinstance(image, bytes):
            decoded = decode_image(image, self.images.name(index), enough_px=enough_px, color=color)
        else:
            decoded = as_tensor(pillow_image(image, self.images.name(index), color=color))
        return Loaded(decoded, read, time.thread_time() - decoding_started, digest_of(image))


def read_encoded(images: SplitImages, index: int) -> ImageLike:
    """An image as the bytes of its file, or as its source has it if it isn't a file.

    Raises:
        ImageError: it can't be read.
    """
    image = images.read(index)
    if isinstance(image, (str, PathLike)):
        return read_file(Path(image))
    return bytes(image) if isinstance(image, bytearray) else image


class Chunk(NamedTuple):
    """Some images of a list: uint8 [N, 3, H, W], their positions int64 [N], and by position why others are unreadable.

    `seconds` is the time for all of them: wall time to read, CPU time to decode and to transform. `digests` is uint8
    [N, 16]: the digests of the contents that were decoded.
    """

    images: torch.Tensor
    positions: torch.Tensor
    bad: dict[int, str]
    seconds: tuple[float, float, float]
    digests: torch.Tensor


class Item(NamedTuple):
    """One image: uint8 [3, H, W] and its digest, or None and the reason; the seconds to read, decode, transform it."""

    position: int
    image: torch.Tensor | None
    reason: str
    seconds: tuple[float, float, float]
    digest: bytes = b""


class ViewDataset(Dataset[Item]):
    """One view of the images of a list."""

    def __init__(
        self, images: ImageSource, indices: Sequence[int] | None, preprocessing: Preprocessing, view: int, seed: int
    ) -> None:
        self.images = images
        self.indices: Sequence[int] = range(len(images)) if indices is None else indices
        self.preprocessing = preprocessing
        self.view = view
        self.seed = seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Item:
        index = self.indices[position]
        try:
            loaded = self.images.load(index, self.preprocessing.enough_px(self.view), self.preprocessing.color)
        except ImageError as error:
            return Item(position, None, str(error), (0.0, 0.0, 0.0))
        started = time.thread_time()
        view = self.preprocessing.view(loaded.image, self.view, seed=self.seed, digest=loaded.digest)
        seconds = (loaded.read_seconds, loaded.decode_seconds, time.thread_time() - started)
        return Item(position, view, "", seconds, loaded.digest)


def collate(items: list[Item]) -> Chunk:
    """Stack the readable images into a chunk."""
    good = [item for item in items if item.image is not None]
    read, decode, transform = (sum(item.seconds[i] for item in good) for i in range(3))
    return Chunk(
        torch.stack([item.image for item in good if item.image is not None])
        if good
        else torch.empty(0, dtype=torch.uint8),
        torch.tensor([item.position for item in good], dtype=torch.int64),
        {item.position: item.reason for item in items if item.image is None},
        (read, decode, transform),
        torch.frombuffer(bytearray(b"".join(item.digest for item in good)), dtype=torch.uint8).view(-1, DIGEST_BYTES)
        if good
        else torch.empty(0, DIGEST_BYTES, dtype=torch.uint8),
    )


class LoadedChunks:
    """The chunks of a dataset, in order, loaded by DataLoader workers, or in this thread if there are none."""

    def __init__(self, dataset: ViewDataset, chunk_size: int, settings: LoaderSettings) -> None:
        self.workers: int = settings.workers
        self._loader: DataLoader[Chunk] = DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_size=chunk_size,
            num_workers=settings.workers,
            pin_memory=settings.pin_memory,
            prefetch_factor=settings.prefetch,
            multiprocessing_context=start_method() if settings.workers else None,
            collate_fn=collate,
            generator=torch.Generator(),  # keeps the caller's random state unchanged
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Chunk]:
        with loader_errors(self.workers):
            yield from self._loader


class ThreadedChunks:
    """The chunks of a dataset, in order, decoded by threads; the next chunk is decoded while one is in use."""

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
