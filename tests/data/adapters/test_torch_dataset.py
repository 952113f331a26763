"""torch datasets as labeled images: torchvision's folders without decoding, others item by item."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from breedclf.data.adapters.torch_dataset import from_torch_dataset
from breedclf.errors import DataError, ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)


class Pairs(Dataset[Any]):
    """Items (image, target); counts how often each was read, and whether two threads read at once."""

    def __init__(self, images: list[Any], given: list[Any]) -> None:
        self.images, self.given = images, given
        self.reads = [0] * len(images)
        self.inside = self.most_inside = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.reads[index] += 1
        time.sleep(0.0005)  # other threads get a chance to be inside
        image = np.array(self.images[index]) if isinstance(self.images[index], np.ndarray) else self.images[index]
        self.inside -= 1
        return image, self.given[index]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, label in (("a.png", "ant"), ("b.png", "ant"), ("c.png", "bee")):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(PIXELS[0]).save(tmp_path / label / name)
    return tmp_path


def test_an_image_folder_gives_its_paths_and_decodes_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_image: object) -> object:
        raise AssertionError("the transform was applied")

    with caplog.at_level(logging.INFO, "breedclf"):
        source = from_torch_dataset(ImageFolder(folder, transform=refuse))
    assert (source.labels, source.targets) == (("ant", "bee"), (0, 0, 1))
    assert [source.read(index) for index in range(3)] == [
        folder / "ant" / "a.png",
        folder / "ant" / "b.png",
        folder / "bee" / "c.png",
    ]
    assert "the transform of ImageFolder isn't applied" in caplog.text


def test_parts_of_an_image_folder_are_files_as_well(folder: Path) -> None:
    whole = ImageFolder(folder)
    part = from_torch_dataset(Subset(Subset(whole, [2, 1, 0]), [0, 2]))
    assert (part.labels, part.targets) == (("ant", "bee"), (1, 0))
    assert [part.read(index) for index in (0, 1)] == [folder / "bee" / "c.png", folder / "ant" / "a.png"]
    both = from_torch_dataset(ConcatDataset([whole, Subset(whole, [2])]))
    assert (both.targets, both.read(3)) == ((0, 0, 1, 1), folder / "bee" / "c.png")


def test_an_image_folder_with_a_loader_of_its_own_is_read_by_it(folder: Path) -> None:
    source = from_torch_dataset(ImageFolder(folder, loader=lambda path: Image.open(path).transpose(0)))
    assert np.array_equal(np.asarray(source.read(0)), PIXELS[0][:, ::-1])


def test_an_image_folder_with_items_of_its_own_is_read_by_them(folder: Path) -> None:
    class Mirrored(ImageFolder):
        def __getitem__(self, index: int) -> Any:
            image, target = super().__getitem__(index)
            return np.asarray(image)[:, ::-1], target

    assert np.array_equal(from_torch_dataset(Mirrored(folder)).read(0), PIXELS[0][:, ::-1])  # type: ignore[arg-type]


def test_a_target_transform_counts(folder: Path) -> None:
    source = from_torch_dataset(ImageFolder(folder, target_transform=lambda target: 1 - target))
    assert source.targets == (1, 1, 0)


@pytest.mark.parametrize(
    "image",
    [PIXELS[1], Image.fromarray(PIXELS[1]), torch.from_numpy(PIXELS[1]).permute(2, 0, 1)],
    ids=["array", "pil", "tensor"],
)
def test_items_of_every_kind_have_the_same_pixels(image: object) -> None:
    source = from_torch_dataset(Pairs([PIXELS[0], image], [0, 1]), names=["ant", "bee"])
    assert np.array_equal(np.asarray(source.read(1)), PIXELS[1])
    assert source.labels == ("ant", "bee")


def test_targets_are_read_once_if_no_list_has_them(caplog: pytest.LogCaptureFixture) -> None:
    pairs = Pairs(list(PIXELS), [3, 1, torch.tensor(1), np.int64(3)])
    with caplog.at_level(logging.INFO, "breedclf"):
        source = from_torch_dataset(pairs)
    assert (source.labels, source.targets) == (("1", "3"), (1, 0, 0, 1))
    assert pairs.reads == [3, 1, 1, 1]  # the first is compared with itself, too
    assert "reading the 4 items of Pairs for their targets; targets=[...] makes that unnecessary" in caplog.text


def test_given_targets_cost_no_reading() -> None:
    pairs = Pairs(list(PIXELS), [None] * 4)
    source = from_torch_dataset(pairs, targets=["x", "y", "x", "y"])
    assert (source.targets, sum(pairs.reads)) == ((0, 1, 0, 1), 2)


def test_one_thread_reads_at_a_time() -> None:
    pairs = Pairs(list(PIXELS) * 10, [0] * 40)
    source = from_torch_dataset(pairs)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(source.read, range(40)))
    assert pairs.most_inside == 1


def test_it_can_be_pickled_also_after_reading() -> None:
    source = from_torch_dataset(Pairs(list(PIXELS), [0, 1, 0, 1]))
    source.read(0)
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.read(2), PIXELS[2])
    assert (again.labels, again.targets) == (source.labels, source.targets)


def test_random_items_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Random(Pairs):
        def __getitem__(self, index: int) -> Any:
            return torch.randint(0, 256, (3, 6, 8), dtype=torch.uint8), 0

    from_torch_dataset(Random(list(PIXELS), [0] * 4), targets=[0, 1, 0, 1])
    assert "the first item of Random differs each time it is read: leave out random transforms" in caplog.text


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


class NoLength:
    def __getitem__(self, index: int) -> Any:
        return PIXELS[0], 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "Stream is an iterable-style dataset, whose items can't be read in any order"),
        (NoLength(), "NoLength isn't a map-style dataset: it needs __getitem__ and __len__"),
        (Pairs([], []), "Pairs has no items"),
        (
            TensorDataset(torch.rand(2, 3, 4, 4), torch.tensor([0, 1])),
            "the first item of TensorDataset: pixels are "
            "float32 [3, 4, 4], not uint8: give the original images without a transform to floats",
        ),
        (TensorDataset(torch.zeros(2, 3, 4, 4)), "item 0 is tuple, not a pair of an image and its target"),
        ([{"image": PIXELS[0], "label": 0}], "item 0 is dict, not a pair of an image and its target"),
        (Pairs(list(PIXELS), [0, 1, -1, 0]), "the label of image 2 is -1"),
        (Pairs(list(PIXELS), [0, 1, True, 0]), "the label of image 2 is True"),
    ],
    ids=["iterable", "no-length", "empty", "floats", "single", "dict", "negative", "bool"],
)
def test_what_can_not_be_trained_on_is_refused_at_once(dataset: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        from_torch_dataset(dataset)
    assert message in str(caught.value)


def test_targets_of_another_number_are_refused() -> None:
    with pytest.raises(DataError, match="the dataset has 4 items and 3 targets: give one target per item"):
        from_torch_dataset(Pairs(list(PIXELS), [0] * 4), targets=[0, 1, 0])


def test_an_item_without_a_readable_target_is_named() -> None:
    class Broken(Pairs):
        def __getitem__(self, index: int) -> Any:
            if index == 2:
                raise KeyError("the key is missing")
            return super().__getitem__(index)

    with pytest.raises(DataError, match="item 2 of Broken can't be read for its target: 'the key is missing'; give"):
        from_torch_dataset(Broken(list(PIXELS), [0] * 4))


def test_a_later_float_image_is_unreadable() -> None:
    source = from_torch_dataset(Pairs([PIXELS[0], torch.rand(3, 4, 4)], [0, 1]))
    with pytest.raises(ImageError, match="pixels are float32"):
        source.read(1)
