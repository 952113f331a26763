"""Decode and crop on the GPU: JPEGs by nvJPEG, many files at a time; other formats are decoded on the CPU."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image

from breedclf.data.decoding import PlainJpeg, as_tensor, decode_image, plain_jpeg, turned
from breedclf.data.digests import digest_of
from breedclf.data.formats.loading import ran_out_of_data
from breedclf.data.image_source import Chunk, Item, collate, read_encoded
from breedclf.data.images import ImageLike, pillow_image
from breedclf.data.preprocessing import MIRROR_VIEW, Preprocessing
from breedclf.data.split import SplitImages
from breedclf.errors import ImageError
from breedclf.runtime.threads import chunks_ahead
from breedclf.runtime.vision import ImageReadMode, decode_jpeg

PIXELS = "device-2"


class DevicePreprocessing(Preprocessing):
    """Preprocessing of images that are on the device; they are scaled as floats, since CUDA can't resize bytes.

    Compared with Pillow, the central view differs by at most one level; random views are cropped at whole pixels.
    """

    def view(self, image: Image.Image | torch.Tensor, view: int, *, seed: int = 0, digest: bytes = b"") -> torch.Tensor:
        """View number `view` of an upright image, uint8 [3, H, W] on any device, as uint8 [3, crop_px, crop_px]."""
        if isinstance(image, Image.Image):
            image = as_tensor(image)
        if view <= 0:
            crop = self._central(image)
            return crop.flip(2) if view == MIRROR_VIEW else crop
        height, width = image.shape[1:]
        box, mirrored = self.box(width, height, view, seed, digest)
        left, top, right, bottom = map(round, box)
        part = image[:, top : max(bottom, top + 1), left : max(right, left + 1)]
        crop = self._resized(part, self.crop_px, self.crop_px)
        return crop.flip(2) if mirrored else crop

    def _resized(self, image: torch.Tensor, width: int, height: int) -> torch.Tensor:
        floats = F.interpolate(image[None].float(), size=(height, width), mode=self.interpolation, antialias=True)[0]
        return floats.round_().clamp_(0, 255).to(torch.uint8)


class _Read(NamedTuple):
    """A file as a plain JPEG, or as a decoded image, or the reason why it can't be read."""

    jpeg: PlainJpeg | None
    image: torch.Tensor | None
    reason: str
    seconds: tuple[float, float]
    digest: bytes = b""


@dataclass(frozen=True)
class DeviceChunks:
    """The chunks of a list of images, in order, decoded and cropped on the device; threads read ahead."""

    images: SplitImages
    indices: Sequence[int]
    preprocessing: DevicePreprocessing
    device: torch.device
    chunk_size: int
    threads: int
    view: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return -(-len(self.indices) // self.chunk_size)

    def __iter__(self) -> Iterator[Chunk]:
        for number, reads in enumerate(chunks_ahead(self._read, self.indices, self.chunk_size, self.threads)):
            yield self._chunk(number * self.chunk_size, reads)

    def _read(self, index: int) -> _Read:
        started = time.perf_counter()
        try:
            data = read_encoded(self.images, index)
        except ImageError as error:
            return _Read(None, None, str(error), (0.0, 0.0))
        read = time.perf_counter() - started
        jpeg = plain_jpeg(data, color=self.preprocessing.color) if isinstance(data, bytes) else None
        if jpeg is not None:
            return _Read(jpeg, None, "", (read, 0.0), digest_of(data))
        return self._by_cpu(index, data, read)

    def _by_cpu(self, index: int, data: ImageLike, read: float = 0.0) -> _Read:
        started = time.thread_time()
        name, color = self.images.name(index), self.preprocessing.color
        try:
            if isinstance(data, bytes):
                image = decode_image(data, name, color=color)
            else:
                image = as_tensor(pillow_image(data, name, color=color))
        except ImageError as error:
            return _Read(None, None, str(error), (read, 0.0))
        return _Read(None, image, "", (read, time.thread_time() - started), digest_of(data))

    def _chunk(self, start: int, reads: Sequence[_Read]) -> Chunk:
        started = time.perf_counter()
        jpegs = {at: read.jpeg for at, read in enumerate(reads) if read.jpeg is not None}
        decoded = dict(zip(jpegs, only_whole(decode_jpegs(list(jpegs.values()), self.device)), strict=True))
        others = {at: read for at, read in enumerate(reads) if at not in jpegs}
        for at in (at for at, image in decoded.items() if image is None):
            others[at] = self._by_cpu(self.indices[start + at], jpegs[at].data)
        seconds = (time.perf_counter() - started) / max(1, len(reads))
        items = []
        for at, read in enumerate(reads):
            image = others[at].image if at in others else decoded[at]
            if image is None:
                items.append(Item(start + at, None, others[at].reason, (0.0, 0.0, 0.0)))
                continue
            upright = turned(image.to(self.device), jpegs[at].orientation) if at in jpegs else image.to(self.device)
            view = self.preprocessing.view(upright, self.view, seed=self.seed, digest=read.digest)
            items.append(Item(start + at, view, "", (read.seconds[0], seconds, 0.0), read.digest))
        return collate(items)


def decode_jpegs(jpegs: Sequence[PlainJpeg], device: torch.device) -> list[torch.Tensor | None]:
    """Decode JPEGs to uint8 [3, H, W] on the device, not turned; None for each that can't be decoded there.

    All are decoded in one call. If that fails, the error doesn't say which file caused it, so each is tried alone.
    """
    files = [torch.frombuffer(bytearray(jpeg.data), dtype=torch.uint8) for jpeg in jpegs]
    try:
        return list(_decode(files, device)) if files else []
    except RuntimeError:
        return [_decoded_alone(file, device) for file in files]


def only_whole(images: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """The images, with None for those whose data may have ended early: the general decoder decides about these."""
    last = [image[:, -1, -1] for image in images if image is not None]
    pixels = iter(torch.stack(last).tolist() if last else [])
    return [None if image is None or ran_out_of_data(tuple(next(pixels))) else image for image in images]


def _decoded_alone(file: torch.Tensor, device: torch.device) -> torch.Tensor | None:
    try:
        return _decode([file], device)[0]
    except RuntimeError:
        return None


def _decode(files: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    with warnings.catch_warnings(action="ignore"):  # torchvision announces that the function will move
        found = decode_jpeg(files, mode=ImageReadMode.RGB, device=device)
    assert isinstance(found, list)
    return found
