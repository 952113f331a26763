"""The content digests of images, which features are stored under, and the fingerprint of a dataset made of them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from breedclf.data.digests import DIGEST_BYTES
from breedclf.data.split import SplitImages
from breedclf.runtime.device import available_cores

_IMAGES_AT_A_TIME = 1024
_IMAGES_PER_TASK = 16  # a task costs more than the digest of a small array


@dataclass(frozen=True)
class ContentDigests:
    """The digests of N images in their order, uint8 [N, 16]; those of unreadable images are hashes of their names.

    `fingerprint` is a hash of all of them: 32 hexadecimal digits, equal for equal contents in the same order.
    """

    values: NDArray[np.uint8]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.values)


def digests_of(images: SplitImages) -> ContentDigests:
    """Read all images for their digests; names and folders of readable ones don't count.

    Example:
        >>> from breedclf.data.split import ImageFiles
        >>> digests_of(ImageFiles([])).fingerprint
        'cae66941d9efbd404e4d88758ea67670'
    """
    fingerprint, count = hashlib.blake2b(digest_size=DIGEST_BYTES), len(images)
    values = np.empty((count, DIGEST_BYTES), np.uint8)

    def digests(first: int) -> list[bytes]:
        return [images.digest(index) for index in range(first, min(first + _IMAGES_PER_TASK, count))]

    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
        for start in range(0, count, _IMAGES_AT_A_TIME):
            starts = range(start, min(start + _IMAGES_AT_A_TIME, count), _IMAGES_PER_TASK)
            for first, some in zip(starts, pool.map(digests, starts), strict=True):
                fingerprint.update(b"".join(some))
                for index, digest in enumerate(some, first):
                    values[index] = np.frombuffer(_fixed_size(digest), np.uint8)
    return ContentDigests(values, fingerprint.hexdigest())


def _fixed_size(digest: bytes) -> bytes:
    return digest if len(digest) == DIGEST_BYTES else hashlib.blake2b(digest, digest_size=DIGEST_BYTES).digest()
