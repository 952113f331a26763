"""S3 in this process, and the jobs that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from breedclf.backends.emulator.s3.objects import MotoObjects
from breedclf.features.remote.bucket import Bucket
from breedclf.features.remote.shared_pass import PassTimes
from breedclf.features.remote.store import RemoteStore
from breedclf.features.store.spec import FeatureSpec
from breedclf.features.store.store import FeatureStore
from breedclf.features.store_access import StoreAccess
from breedclf.files.s3_uri import S3Location

SPEC = FeatureSpec("weights", "head", {"crop_px": 224}, "fp32", "engine")
QUICK = PassTimes(first_wait=0.02, wait=0.1)


def digests_of(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def values_of(digests: NDArray[np.uint8]) -> torch.Tensor:
    """The features of images, float32 [N, 4]: what a backbone would compute from their contents."""
    return torch.from_numpy(digests[:, :4].astype(np.float32)) / 7


@dataclass
class JobOnOneMachine:
    """A job with a store of its own on its machine; it computes 64 images at a time."""

    folder: Path
    client: Any
    times: PassTimes = QUICK
    computed: list[bytes] = field(default_factory=list)

    def run(
        self,
        digests: NDArray[np.uint8],
        after_each: Callable[[int], None] = lambda _: None,
        on_wait: Callable[[int], None] = lambda _: None,
    ) -> torch.Tensor:
        """Run a pass over these images; `after_each` is called with the number of images computed."""
        remote = RemoteStore(Bucket(self.client, S3Location("photos", "features")), times=self.times)
        with StoreAccess.opened(FeatureStore(self.folder), SPEC) as local:

            def compute(
                positions: NDArray[np.int64], left: int, on_append: Callable[[NDArray[np.uint8]], bool]
            ) -> None:
                assert 0 <= left <= len(digests) - len(positions)
                for start in range(0, len(positions), 64):
                    some = digests[positions[start : start + 64]]
                    local.append(some, values_of(some))
                    self.computed += [each.tobytes() for each in some]
                    after_each(len(self.computed))
                    if not on_append(some):
                        return

            remote.share(SPEC, local, digests, compute, on_wait)
            assert local.reader is not None
            return local.reader.read(local.find(digests))


@pytest.fixture
def s3() -> Iterator[Any]:
    """boto3's client of an S3 with the empty bucket photos; all tests of a process have the same S3."""
    client = MotoObjects().client("us-east-1")
    client.create_bucket(Bucket="photos")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="photos"):
        for each in page.get("Contents", ()):
            client.delete_object(Bucket="photos", Key=each["Key"])
    client.delete_bucket(Bucket="photos")


@pytest.fixture
def job(s3: Any, tmp_path: Path) -> Callable[..., JobOnOneMachine]:
    """Makes a job by its name."""
    return lambda name, **more: JobOnOneMachine(tmp_path / name, s3, **more)
