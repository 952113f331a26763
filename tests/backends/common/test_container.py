"""The environment of jobs on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf.backends.common.container import job_environment
from breedclf.backends.common.folder import job_folder
from breedclf.jobs import JobSpec


@pytest.mark.parametrize(("store", "gets_keys"), [("s3://photos/features", True), ("features", False)])
def test_a_job_gets_the_keys_of_aws_only_for_a_feature_store_in_s3(tmp_path: Path, store: str, gets_keys: bool) -> None:
    spec = JobSpec(name="train", hyperparameters={"feature_store": store})
    outer = {"AWS_ACCESS_KEY_ID": "key", "AWS_PROFILE": "dogs", "SECRET": "other"}
    found = job_environment(job_folder(tmp_path, "train"), spec, cores=1, gpus=(), outer=outer)
    assert ("AWS_ACCESS_KEY_ID" in found, "AWS_PROFILE" in found) == (gets_keys, gets_keys)
    assert "SECRET" not in found
