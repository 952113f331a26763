"""A fingerprint of images: equal for equal contents in the same order."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from breedclf.data.split import SplitImages
from breedclf.runtime.device import available_cores

_IMAGES_AT_A_TIME = 1024
_IMAGES_PER_TASK = 16  # a task costs more than the digest of a small array


def fingerprint_of(images: SplitImages) -> str:
    """A hash of the images' contents in their order, as 32 hexadecimal digits; names and folders don't count.

    Example:
        >>> from breedclf.data.split import ImageFiles
        >>> fingerprint_of(ImageFiles([]))
        'cae66941d9efbd404e4d88758ea67670'
    """
    digest, count = hashlib.blake2b(digest_size=16), len(images)

    def digests(first: int) -> bytes:
        return b"".join(images.digest(index) for index in range(first, min(first + _IMAGES_PER_TASK, count)))

    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
        for start in range(0, count, _IMAGES_AT_A_TIME):
            for some in pool.map(digests, range(start, min(start + _IMAGES_AT_A_TIME, count), _IMAGES_PER_TASK)):
                digest.update(some)
    return digest.hexdigest()
