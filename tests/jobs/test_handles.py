"""Handles and backends are values: equal for the same job or endpoint, and usable in another process."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from breedclf import (
    Categorical,
    Classifier,
    ConfigError,
    Deployment,
    Endpoint,
    FitResult,
    InlineBackend,
    Job,
    JobSpec,
    LocalBackend,
    SageMakerBackend,
    TrainingConfig,
    TuningJob,
)
from tests.integration.conftest import trained

__all__ = ["trained"]

SCRIPT = 'import json; print("it ran")'


def copied(handle: Any) -> Any:
    return pickle.loads(pickle.dumps(handle))


@pytest.fixture
def backend(tmp_path: Path) -> InlineBackend:
    return InlineBackend(tmp_path / "home")


def submit(backend: InlineBackend | LocalBackend, folder: Path) -> Job:
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(SCRIPT, encoding="utf-8")
    backend.submit(JobSpec("job", source=folder / "code"))
    return Job("job", backend)


def test_handles_of_one_job_are_equal(tmp_path: Path) -> None:
    backend, same, other = (InlineBackend(tmp_path / name) for name in ("a", "a", "b"))
    assert backend == same != other
    assert Job("x", backend) == Job("x", same)
    assert Job("x", backend) not in (Job("y", backend), Job("x", other), "x")
    assert len({Job("x", backend), Job("x", same), Job("x", other)}) == 2
    assert Endpoint("x", backend) == Endpoint("x", same) != Endpoint("x", other)
    assert len({Endpoint("x", backend), Endpoint("x", same), Job("x", same)}) == 2
    assert LocalBackend(tmp_path / "a") != backend


def test_everything_survives_a_copy(backend: InlineBackend, tmp_path: Path, trained: tuple[FitResult, Path]) -> None:
    result, data = trained
    config = TrainingConfig(data=data, weights="none")
    space = {"batch_size": Categorical(4, 8)}
    for each in (backend, LocalBackend(tmp_path / "home", cores=1, preload=True), Job("x", backend)):
        assert copied(each) == each
    assert copied(LocalBackend(tmp_path, cores=1)).settings == LocalBackend(tmp_path, cores=1).settings
    deployment = Deployment(result.artifact, backend, name="e", ttl_seconds=9)
    assert copied(deployment).spec == deployment.spec
    assert copied(deployment).backend == backend
    for on in (None, backend):
        tuning = TuningJob(config, space, backend=on, name="search", home=tmp_path)
        assert copied(tuning).name == "search"
        assert copied(tuning)._request == tuning._request
        assert copied(tuning)._folder.path == tuning._folder.path


def test_a_search_and_its_best_trial_survive_a_copy(tmp_path: Path, trained: tuple[FitResult, Path]) -> None:
    config = TrainingConfig(data=trained[1], architecture="resnet18", weights="none", epochs=1, chunk_size=8)
    tuning = TuningJob(config, {"batch_size": Categorical(4, 8)}, max_jobs=2, home=tmp_path).run()
    best = copied(copied(tuning).best)
    assert best.hyperparameters == tuning.best.hyperparameters
    assert best.artifact == tuning.best.artifact


def in_another_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result(timeout=240)


def _used(job: Job, result: FitResult, classifier: Classifier, image: Path) -> tuple[Any, ...]:
    return list(job.logs()), job.status, job, result.classifier.predict(image), classifier.predict(image)


@pytest.mark.slow
def test_they_work_in_a_spawned_process(
    backend: InlineBackend, tmp_path: Path, trained: tuple[FitResult, Path]
) -> None:
    job = submit(backend, tmp_path)
    result, data = trained
    image = next(data.glob("test/*/*.png"))
    lines, status, same, *predictions = in_another_process(_used, job, result, Classifier(result.artifact), image)
    assert lines == ["it ran"]
    assert status == "Completed"
    assert same == job
    assert predictions == [Classifier(result.artifact).predict(image)] * 2


def test_a_sagemaker_backend_is_made_again_from_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-environment")
    backend = SageMakerBackend("arn:aws:iam::111122223333:role/x", "bucket", "eu-west-1", home=tmp_path, poll_seconds=3)
    backend.clients("s3")
    assert b"of-the-environment" not in pickle.dumps(backend)
    same = copied(backend)
    assert same == backend
    assert hash(same) == hash(backend)
    assert same.settings == backend.settings
    assert same.clients("s3").meta.region_name == "eu-west-1"
    assert Job("x", same) == Job("x", backend)
    assert same != SageMakerBackend("arn:aws:iam::111122223333:role/x", "bucket", "us-east-1", home=tmp_path)


def test_keys_given_to_a_session_are_not_pickled(tmp_path: Path) -> None:
    session = boto3.Session(aws_access_key_id="key", aws_secret_access_key="secret", region_name="eu-west-1")
    backend = SageMakerBackend(bucket="bucket", session=session, home=tmp_path)
    with pytest.raises(ConfigError, match="can't be pickled: its boto3.Session was made with keys"):
        pickle.dumps(backend)


def test_a_profile_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b\n")
    (tmp_path / "config").write_text("[profile work]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    backend = SageMakerBackend(session=boto3.Session(profile_name="work"), bucket="bucket", home=tmp_path)
    same = copied(backend)
    assert same.clients.session.profile_name == "work"
    assert same.context.region == "eu-north-1"
