"""Images that change between their digest and their decoding: each feature is stored under what was decoded."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data.labeled_images import SourceImages
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles, SplitImages
from breedclf.features.digests import digests_of
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts, StoredPass
from breedclf.features.values import Features
from breedclf.runtime.device import compute_for


class Mean(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


def extractor() -> FeatureExtractor:
    preprocessing = Preprocessing(resize_px=8, crop_px=8)
    return FeatureExtractor(Mean, preprocessing, compute_for("cpu", "fp32"), "weights", chunk_size=4)


def one_pass(images: SplitImages, folder: Path, digested: SplitImages | None = None) -> tuple[Features, FeatureCounts]:
    digests = digests_of(images if digested is None else digested)
    found, counts = StoredPass(extractor(), images, digests, 0, "train", lambda _: None).run(FeatureStore(folder))
    return found.loaded(), counts


def exact(images: SplitImages, tmp_path: Path) -> torch.Tensor:
    return one_pass(images, tmp_path / "new store")[0].values


def painted(path: Path, level: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (9, 9), (level, level // 2, 7)).save(path)
    return path


def test_a_file_that_is_replaced_is_stored_as_what_was_decoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = [painted(tmp_path / f"{level}.png", level) for level in (10, 50, 90)]
    digested = tmp_path / "before"
    digested.mkdir()
    for path in before:
        shutil.copy(path, digested)
    painted(before[1], 200)  # after its digest was taken
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        found, counts = one_pass(
            ImageFiles(before), tmp_path / "store", ImageFiles([digested / path.name for path in before])
        )
    assert torch.equal(found.values, exact(ImageFiles(before), tmp_path))
    assert "1 images changed while they were read" in caplog.text
    assert str(before[1]) in caplog.text
    assert counts == FeatureCounts(computed=3)
    assert one_pass(ImageFiles(before), tmp_path / "store")[1] == FeatureCounts(reused=3)
    old = ImageFiles([digested / "50.png"])
    again, counts = one_pass(old, tmp_path / "store")
    assert counts == FeatureCounts(computed=1)
    assert torch.equal(again.values, exact(old, tmp_path))


def test_a_copy_of_a_file_that_changes_keeps_its_own_feature(tmp_path: Path) -> None:
    first, copy = painted(tmp_path / "a.png", 30), painted(tmp_path / "b.png", 30)
    old = painted(tmp_path / "old" / "a.png", 30)
    painted(first, 220)
    images = ImageFiles([first, copy])
    found, counts = one_pass(images, tmp_path / "store", ImageFiles([old, copy]))
    assert torch.equal(found.values, exact(images, tmp_path))
    assert counts == FeatureCounts(computed=2)


def test_a_copy_of_a_file_that_becomes_unreadable_is_still_read(tmp_path: Path) -> None:
    first, copy = painted(tmp_path / "a.png", 30), painted(tmp_path / "b.png", 30)
    old = painted(tmp_path / "old" / "a.png", 30)
    first.write_bytes(b"no image")
    found, counts = one_pass(ImageFiles([first, copy]), tmp_path / "store", ImageFiles([old, copy]))
    assert list(found.bad) == [0]
    assert found.kept.tolist() == [1]
    assert counts == FeatureCounts(computed=1)
    assert one_pass(ImageFiles([copy]), tmp_path / "store")[1] == FeatureCounts(reused=1)


def test_unreadable_files_of_the_same_name_are_not_the_same_image(tmp_path: Path) -> None:
    there = [painted(tmp_path / folder / "1.png", level) for folder, level in (("ants", 40), ("bees", 180))]
    missing = ImageFiles([tmp_path / folder / "no" / "1.png" for folder in ("ants", "bees")])
    digests = digests_of(missing)
    assert len(np.unique(digests.values, axis=0)) == 2
    assert digests.fingerprint == digests_of(missing).fingerprint
    found, counts = one_pass(ImageFiles(there), tmp_path / "store", missing)  # readable again when they are decoded
    assert torch.equal(found.values, exact(ImageFiles(there), tmp_path))
    assert counts == FeatureCounts(computed=2)
    assert one_pass(ImageFiles(there), tmp_path / "store")[1] == FeatureCounts(reused=2)


def test_equal_images_are_computed_once_and_equal_broken_ones_are_all_reported(tmp_path: Path) -> None:
    paths = [painted(tmp_path / f"{number}.png", 60) for number in range(3)]
    broken = [tmp_path / f"broken {number}.jpg" for number in range(2)]
    for path in broken:
        path.write_bytes(b"\xff\xd8 broken")
    found, counts = one_pass(ImageFiles([*paths, *broken]), tmp_path / "store")
    assert counts == FeatureCounts(computed=1, reused=2)
    assert torch.equal(found.values, found.values[:1].expand(3, -1))
    assert all(str(broken[at - 3]) in found.bad[at] for at in (3, 4))


class Changing:
    """Arrays of a program that are other ones each time they are read."""

    labels = ("a", "b")
    targets = (0, 1)

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> np.ndarray:  # type: ignore[type-arg]
        self.reads += 1
        return np.full((8, 8, 3), 20 * self.reads + index, np.uint8)


def test_a_source_that_gives_another_image_each_time(tmp_path: Path) -> None:
    images = SourceImages(Changing())
    first, counts = one_pass(images, tmp_path / "store")
    assert counts == FeatureCounts(computed=2)
    assert not torch.equal(first.values[0], first.values[1])
    again, counts = one_pass(images, tmp_path / "store")  # nothing was stored under the digests of images not decoded
    assert counts == FeatureCounts(computed=2)
    assert not torch.equal(again.values, first.values)
