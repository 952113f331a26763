"""The content digests of images, which features are stored under, and the fingerprint of a dataset made of them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from breedclf.data.digests import DIGEST_BYTES, is_unreadable
from breedclf.data.file_digests import digests_of_files, in_threads
from breedclf.data.split import SplitImages
from breedclf.files.known_files import KnownFiles
from breedclf.runtime.machine import available_cores

_IMAGES_AT_A_TIME = 4096
_IMAGES_PER_TASK = 64  # a task costs as much as the paths of some hundred files


@dataclass(frozen=True)
class ContentDigests:
    """The digests of N images in their order, uint8 [N, 16]; those of unreadable images are unlike all others.

    `fingerprint` is a hash of all of them: 32 hexadecimal digits, equal for equal contents in the same order.
    """

    values: NDArray[np.uint8]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.values)


def digests_of(images: SplitImages, known: KnownFiles | None = None) -> ContentDigests:
    """The digests of images; known files aren't read. Names and folders of readable images don't count.

    Example:
        >>> from breedclf.data.split import ImageFiles
        >>> digests_of(ImageFiles([])).fingerprint
        'cae66941d9efbd404e4d88758ea67670'
    """
    fingerprint, count = hashlib.blake2b(digest_size=DIGEST_BYTES), len(images)
    values = np.empty((count, DIGEST_BYTES), np.uint8)

    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool, known or nullcontext():
        for start in range(0, count, _IMAGES_AT_A_TIME):
            end = min(start + _IMAGES_AT_A_TIME, count)
            found = in_threads(pool, range(start, end), images.file_or_digest, _IMAGES_PER_TASK)
            files = [each for each in found if isinstance(each, Path)]
            of_files = iter(digests_of_files(files, pool, known))
            digests = [next(of_files) if isinstance(each, Path) else each for each in found]
            fingerprint.update(b"".join(digests))
            fixed = b"".join(map(_fixed_size, digests, range(start, end)))
            values[start:end] = np.frombuffer(fixed, np.uint8).reshape(-1, DIGEST_BYTES)
    return ContentDigests(values, fingerprint.hexdigest())


def _fixed_size(digest: bytes, position: int) -> bytes:
    if not is_unreadable(digest):
        return digest
    # Unreadable files with the same name, in different folders, may have different contents when they become readable.
    return hashlib.blake2b(digest, digest_size=DIGEST_BYTES, salt=position.to_bytes(16, "big")).digest()
