"""The catalog of datasets that can be downloaded, with the URLs and checksums of their archives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from breedclf.downloads.arrange import Arranged, arrange_lists, arrange_splits


@dataclass(frozen=True)
class Archive:
    """A file to download: its URLs, its size, and its SHA-256 if that was published."""

    name: str
    urls: tuple[str, ...]
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """A published dataset; `arrange(unpacked, into)` moves its unpacked files into split and class folders."""

    name: str
    title: str
    page: str
    license: str
    archives: tuple[Archive, ...]
    arrange: Callable[[Path, Path], Arranged]

    @property
    def size_bytes(self) -> int:
        """The size of all archives."""
        return sum(archive.size_bytes for archive in self.archives)


_PETS = ("https://thor.robots.ox.ac.uk/~vgg/data/pets", "https://www.robots.ox.ac.uk/~vgg/data/pets/data")

PUBLISHED = {
    published.name: published
    for published in (
        Published(
            name="oxford-pets",
            title="Oxford-IIIT Pet: 37 breeds of cats and dogs, about 200 images each, with a test split",
            page="https://www.robots.ox.ac.uk/~vgg/data/pets/",
            license="CC BY-SA 4.0; the images' copyright remains with their owners",
            # Sizes and checksums as recorded by TensorFlow Datasets.
            archives=(
                Archive(
                    "images.tar.gz",
                    tuple(f"{url}/images.tar.gz" for url in _PETS),
                    791_918_971,
                    "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                ),
                Archive(
                    "annotations.tar.gz",
                    tuple(f"{url}/annotations.tar.gz" for url in _PETS),
                    19_173_078,
                    "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                ),
            ),
            arrange=arrange_lists,
        ),
        Published(
            name="udacity-dogs",
            title="Udacity's dogImages: 133 breeds, 8,351 images in train, valid and test",
            page="https://github.com/udacity/dog-project",
            license="none is stated; some images are from ImageNet",
            # No checksum is published; the size is the one that the server reported in 2022.
            archives=(
                Archive(
                    "dogImages.zip",
                    ("https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip",),
                    1_132_023_110,
                ),
            ),
            arrange=arrange_splits,
        ),
    )
}
