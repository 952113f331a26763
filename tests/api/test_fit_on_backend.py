"""`Trainer.fit` on a backend: the same files, the same result and the same weights as in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from breedclf import InlineBackend, Job, LocalBackend, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.errors import ConfigError, JobFailedError, TrainingStoppedError
from breedclf.jobs import Backend, JobSpec
from breedclf.training.hooks import TrainingHook
from breedclf.training.results.result import FitResult
from tests.backends.test_training_job import weights_of
from tests.integration.conftest import RESNET, write_patterns
from tests.waiting import PATIENCE_SECONDS, until

QUICK_CPU = {**RESNET, "device": "cpu", "epochs": 2, "on_bad_image": "skip"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset with one unreadable image."""
    folder = write_patterns(tmp_path_factory.mktemp("fit") / "images")
    (folder / "train/001.Lying/broken.png").touch()
    return folder


@pytest.fixture(scope="module")
def fitted_here(images: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return Trainer(TrainingConfig(data=images, output=tmp_path_factory.mktemp("here"), **QUICK_CPU)).fit()


@pytest.fixture(params=["inline", "local"])
def some_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "inline":
        return InlineBackend(tmp_path / "home")
    return LocalBackend(tmp_path / "home", gpus=())


class Listener(TrainingHook):
    """A hook that ignores every event."""


class Submissions:
    """A backend that only counts what is submitted."""

    name = "submissions"

    def __init__(self) -> None:
        self.specs: list[JobSpec] = []

    def submit(self, spec: JobSpec) -> None:
        self.specs.append(spec)


def test_a_backend_gives_the_same_result(
    some_backend: Backend, images: Path, fitted_here: FitResult, tmp_path: Path
) -> None:
    config = TrainingConfig(data=images, output=tmp_path / "out", **QUICK_CPU)
    result = Trainer(config, backend=some_backend).fit()
    assert weights_of(result.artifact) == weights_of(fitted_here.artifact)
    assert (result.artifact, result.output) == (tmp_path / "out/model", tmp_path / "out")
    assert result.best_epoch == fitted_here.best_epoch
    learned = [(each.train_loss, each.valid_loss, each.valid_accuracy) for each in result.history]
    assert learned == [(each.train_loss, each.valid_loss, each.valid_accuracy) for each in fitted_here.history]
    assert [Path(reason.split(" can't")[0]).name for reason in result.skipped] == ["broken.png"]
    assert 0 < result.seconds < PATIENCE_SECONDS
    image = next((images / "test").rglob("*.png"))
    assert result.classifier.predict(image).top(1) == fitted_here.classifier.predict(image).top(1)
    assert result.to_dict().keys() == fitted_here.to_dict().keys()

    assert TrainingConfig.from_file(result.output / "config.json") == config
    assert len((result.output / "history.jsonl").read_text().splitlines()) == 2
    (job,) = some_backend.list_jobs()
    some_backend.delete(job.name)
    assert result.artifact.joinpath("model.safetensors").is_file(), "the results don't depend on the job's folder"


def test_a_default_output_gets_a_number_as_in_this_process(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backend = InlineBackend(tmp_path / "home")
    config = TrainingConfig(data=images, **{**QUICK_CPU, "epochs": 1})
    outputs = [Trainer(config, backend=backend).fit().output for _ in range(2)]
    assert outputs == [Path("runs/train"), Path("runs/train-2")]


def test_what_can_not_be_sent_is_refused_before_the_job(images: Path, tmp_path: Path) -> None:
    backend = Submissions()
    (tmp_path / "file").touch()
    config = TrainingConfig(data=images, output=tmp_path / "out", **QUICK_CPU)
    trainer = Trainer(config, backend=backend)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="hooks run in this process and can't be sent to a backend"):
        trainer.fit(hooks=[Listener()])
    with pytest.raises(ConfigError, match=r"find_learning_rate\(\) runs in this process only"):
        trainer.find_learning_rate()
    with pytest.raises(ConfigError, match=r"resume=True continues from .* Job\.attach\(name, backend=\.\.\.\)"):
        trainer.fit(resume=True)
    blocked = Trainer(config.replace(output=tmp_path / "file/out"), backend=backend)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"output=.* can't be written"):
        blocked.fit()
    assert backend.specs == []


def test_a_failed_job_raises_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = TrainingConfig(data=tmp_path / "empty", output=tmp_path / "out", **QUICK_CPU)
    with pytest.raises(JobFailedError, match=r"job train-\S+ failed: .*empty"):
        Trainer(config, backend=InlineBackend(tmp_path / "home")).fit()


def test_the_command_line_refuses_to_resume_a_job(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(images), "--backend", "local", "--resume"]) == 2
    assert "resume=True continues from" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(images: Path, tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "home", gpus=())
    settings = {**QUICK_CPU, "epochs": 10_000, "feature_cache": False}
    code = f"""
        from breedclf import LocalBackend, Trainer, TrainingConfig
        config = TrainingConfig(data={str(images)!r}, output={str(tmp_path / "out")!r}, **{settings!r})
        Trainer(config, backend=LocalBackend({str(backend.home)!r}, gpus=())).fit()
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    until(lambda: [job for job in backend.list_jobs() if job.metrics])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0
    (name,) = (job.name for job in backend.list_jobs())
    job = Job.attach(name, backend=backend)
    try:
        assert f"job {name} goes on; come back with Job.attach({name!r}, backend=...)" in err
        assert "KeyboardInterrupt" in err
        assert job.status == "InProgress"
    finally:
        job.stop()
        job.wait(timeout_seconds=PATIENCE_SECONDS, check=False)
    assert job.status == "Stopped"


def test_an_attached_job_may_be_named_by_its_backend_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path))
    write_patterns(tmp_path / "images")
    config = TrainingConfig(data=tmp_path / "images", **{**QUICK_CPU, "epochs": 1})
    job = Trainer(config, backend="inline").submit(name="by-name")
    assert Job.attach("by-name", backend="inline").status == job.status == "Completed"
    assert Job.attach("by-name").metrics == job.metrics
    assert json.loads((job.output / "result.json").read_text())["skipped"] == []


def test_request_stop_ends_the_job_with_its_best_model(some_backend: Backend, images: Path, tmp_path: Path) -> None:
    config = TrainingConfig(data=images, output=tmp_path / "out", **{**QUICK_CPU, "epochs": 10_000})
    trainer = Trainer(config, backend=some_backend)

    def ask() -> None:
        until(lambda: bool(some_backend.list_jobs()) and some_backend.list_jobs()[0].metrics.get("epoch", 0) > 2)
        trainer.request_stop()

    asking = threading.Thread(target=ask)
    asking.start()
    result = trainer.fit()
    asking.join()
    assert result.stopped
    assert 2 < len(result.history) < 10_000
    assert result.classifier.predict(next((images / "test").rglob("*.png"))).best is not None
    (job,) = some_backend.list_jobs()
    assert job.status == "Stopped"
    assert job.metrics["best_epoch"] == result.best_epoch


def test_a_request_before_the_fit_submits_nothing(images: Path, tmp_path: Path) -> None:
    backend = Submissions()
    trainer = Trainer(TrainingConfig(data=images, output=tmp_path / "out", **QUICK_CPU), backend=backend)  # type: ignore[arg-type]
    trainer.request_stop()
    with pytest.raises(TrainingStoppedError):
        trainer.fit()
    assert backend.specs == []
