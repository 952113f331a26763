"""Processes that share a pass use a store in S3 as one job: the first one talks to it, all compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.data.split import ImageFiles
from breedclf.features import stored_pass
from breedclf.features.remote.bucket import Bucket
from breedclf.features.remote.store import RemoteStore
from breedclf.features.store.store import FeatureStore
from breedclf.features.stored_pass import FeatureCounts
from breedclf.files.s3_uri import S3Location
from tests.features.remote.conftest import QUICK
from tests.features.test_sharing import rows_in, run


def test_processes_compute_together_what_s3_lacks_and_upload_it(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_pass, "IMAGES_PER_EXCHANGE", 8)
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(40):
        pixels = draw.integers(0, 256, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02}.png")
    images = ImageFiles(sorted((tmp_path / "images").iterdir()))

    def store(name: str) -> FeatureStore:
        return FeatureStore(
            tmp_path / name, remote=RemoteStore(Bucket(s3, S3Location("photos", "features")), times=QUICK)
        )

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
