"""Processes that share a pass use a store in S3 as one job: the first one talks to it, all compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data.split import ImageFiles
from breedclf.features import stored_pass
from breedclf.features.digests import digests_of
from breedclf.features.remote.bucket import Bucket
from breedclf.features.remote.store import RemoteStore
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts
from breedclf.files.s3_uri import S3Location
from tests.features.remote.conftest import QUICK
from tests.features.test_sharing import rows_in, run


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageFiles:
    """40 images, of which processes exchange 8 each."""
    monkeypatch.setattr(stored_pass, "IMAGES_PER_EXCHANGE", 8)
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(40):
        pixels = draw.integers(0, 256, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02}.png")
    return ImageFiles(sorted((tmp_path / "images").iterdir()))


@pytest.fixture
def store(s3: Any, tmp_path: Path) -> Callable[[str], FeatureStore]:
    """Makes the store of a process by the name of its folder."""
    location = S3Location("photos", "features")
    return lambda name: FeatureStore(tmp_path / name, remote=RemoteStore(Bucket(s3, location), times=QUICK))


def test_processes_compute_together_what_s3_lacks_and_upload_it(
    images: ImageFiles, store: Callable[[str], FeatureStore]
) -> None:
    ((alone, _),) = run(images, [None])
    some = ImageFiles(images.paths[:10])
    ((_, counts),) = run(some, [store("earlier")])
    assert counts == FeatureCounts(10, 0)
    stores = [store("one"), store("one"), store("other")]
    for features, counts in run(images, stores):
        assert torch.equal(features.values, alone.values)
        assert counts == FeatureCounts(30, 10)
    assert [rows_in(each) for each in stores] == [40, 40, 40]
    ((features, counts),) = run(images, [store("later")])
    assert torch.equal(features.values, alone.values)
    assert counts == FeatureCounts(0, 40)


@pytest.mark.parametrize("names", [("one", "one"), ("one", "other")], ids=["one-folder", "two-folders"])
def test_images_that_change_are_uploaded_as_they_are_whichever_process_has_read_them(
    images: ImageFiles, store: Callable[[str], FeatureStore], names: tuple[str, str]
) -> None:
    stale = digests_of(images)
    stale.values[::5] = np.arange(8)[:, None]
    for _, counts in run(images, [store(name) for name in names], stale):
        assert counts == FeatureCounts(40, 0)
    ((_, counts),) = run(images, [store("later")])
    assert counts == FeatureCounts(0, 40)
