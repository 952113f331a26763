"""Which sets can be fetched, from where, and what is known of their archives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from breedclf.downloads.arrange import Arranged, arrange_lists, arrange_splits


@dataclass(frozen=True)
class Archive:
    """A file to fetch: the places that have it, its size, and its SHA-256 where that has been published."""

    name: str
    urls: tuple[str, ...]
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """A set of images; `arrange` turns what its archives unpack to into split and class folders."""

    name: str
    title: str
    page: str
    licence: str
    archives: tuple[Archive, ...]
    arrange: Callable[[Path, Path], Arranged]

    @property
    def size_bytes(self) -> int:
        return sum(archive.size_bytes for archive in self.archives)


_PETS = ("https://thor.robots.ox.ac.uk/~vgg/data/pets", "https://www.robots.ox.ac.uk/~vgg/data/pets/data")

PUBLISHED = {
    published.name: published
    for published in (
        Published(
            name="oxford-pets",
            title="Oxford-IIIT Pet: 37 breeds of cats and dogs, about 200 images each, with a test split",
            page="https://www.robots.ox.ac.uk/~vgg/data/pets/",
            licence="CC BY-SA 4.0; the images' copyright remains with their owners",
            # Sizes and sums as TensorFlow Datasets records them.
            archives=(
                Archive(
                    "images.tar.gz",
                    tuple(f"{place}/images.tar.gz" for place in _PETS),
                    791_918_971,
                    "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                ),
                Archive(
                    "annotations.tar.gz",
                    tuple(f"{place}/annotations.tar.gz" for place in _PETS),
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
            licence="none is stated; some images are from ImageNet",
            # No sum of it is published; the size is the one that the server told in 2022.
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
