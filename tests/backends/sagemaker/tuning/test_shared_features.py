"""The training jobs of a native search, and jobs after it, share features through S3."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, Trainer, TrainingConfig, TuningJob
from breedclf.backends.emulator.server import Emulator
from breedclf.errors import ConfigError
from tests.backends.sagemaker.contexts import backend_at
from tests.integration.conftest import write_patterns


def features_of(s3: Any, bucket: str, job: str) -> dict[str, int]:
    """What the job's result says about its passes."""
    key = f"breedclf/jobs/{job}/output/output.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) as tar:
        (name,) = [name for name in tar.getnames() if name.rpartition("/")[2] == "result.json"]
        file = tar.extractfile(name)
        assert file is not None
        found: dict[str, int] = json.load(file)["features"]
    return found


@pytest.mark.slow
def test_the_jobs_of_a_search_and_later_ones_pass_each_image_once(
    quick: Emulator, quick_client: Any, quick_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREEDCLF_CACHE_DIR", "job-cache")  # in the folder of each job, which has a disk of its own
    images = write_patterns(tmp_path / "images", counts={"train": 20, "valid": 5})
    config = TrainingConfig(
        data=images,
        architecture="resnet18",
        weights=None,
        device="cpu",
        chunk_size=8,
        epochs=1,
        feature_store=f"s3://{quick_bucket}/features",
    )
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    space = {"learning_rate": Categorical(0.001, 0.01), "batch_size": Categorical(4, 8)}
    tuning = TuningJob(config, space, strategy="grid", max_parallel_jobs=2, backend=backend, name="shared").run()
    tuning.wait()
    later = Trainer(config, backend=backend).submit().wait(timeout=90)

    counts = [features_of(quick_client("s3"), quick_bucket, trial.name) for trial in tuning.trials]
    assert sum(each["computed"] for each in counts) == 50
    assert [each["computed"] + each["reused"] for each in counts] == [50] * 4
    assert features_of(quick_client("s3"), quick_bucket, later.name) == {"computed": 0, "reused": 50}


def test_a_store_that_jobs_cannot_use_is_refused_before_anything_is_uploaded(
    quick: Emulator, quick_bucket: str, tmp_path: Path
) -> None:
    images = write_patterns(tmp_path / "images")
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    config = TrainingConfig(data=images, weights=None, feature_store="s3://no-such-bucket/features")
    with pytest.raises(ConfigError, match="bucket no-such-bucket does not exist"):
        Trainer(config, backend=backend).submit()
    config = TrainingConfig(data=images, weights=None, feature_store=f"s3://{quick_bucket}")
    with pytest.raises(ConfigError, match="has no prefix"):
        Trainer(config, backend=backend).submit()
    (tmp_path / "wheels").mkdir()
    isolated = backend_at(quick, quick_bucket, tmp_path / "home", network_isolation=True, wheels=tmp_path / "wheels")
    config = TrainingConfig(data=images, weights=None, feature_store=f"s3://{quick_bucket}/features")
    with pytest.raises(ConfigError, match="which network_isolation forbids"):
        Trainer(config, backend=isolated).submit()
