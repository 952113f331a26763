"""A fingerprint of images: equal for equal contents in the same order."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from breedclf.data.split import SplitImages
from breedclf.runtime.device import available_cores

_IMAGES_AT_A_TIME = 1024


def fingerprint_of(images: SplitImages) -> str:
    """A hash of the images' contents in their order, as 32 hexadecimal digits; names and folders don't count.

    Example:
        >>> from breedclf.data.split import ImageFiles
        >>> fingerprint_of(ImageFiles([]))
        'cae66941d9efbd404e4d88758ea67670'
    """
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(max_workers=min(8, available_cores())) as pool:
        for start in range(0, len(images), _IMAGES_AT_A_TIME):
            for one in pool.map(images.digest, range(start, min(start + _IMAGES_AT_A_TIME, len(images)))):
                digest.update(one)
    return digest.hexdigest()
