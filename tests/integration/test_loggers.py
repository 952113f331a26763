"""Training runs logged by the real TensorBoard and MLflow, and training runs that tolerate failures there."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlflow
import pytest
import urllib3
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from breedclf import MLflowLogger, TensorBoardLogger, Trainer, TrainingConfig
from breedclf.backends.common.bundle import breedclf_bundle, settings_requirements
from breedclf.backends.inline import InlineBackend
from breedclf.config.import_path import BUILT_IN_METRICS
from breedclf.errors import ConfigError, MissingExtraError, TrainingError
from breedclf.loggers.run_logger import RunLogger, RunStatus
from breedclf.training.fit import FitResult
from breedclf.training.hooks import EpochRecord, TrainingHook, TrainingPlan
from tests import own_code
from tests.integration.conftest import RESNET, write_patterns

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/breeds"
OWN = {"accuracy": own_code.accuracy, "recall": own_code.missing_recall}
pytestmark = pytest.mark.filterwarnings("default::Warning:sqlalchemy", "default::Warning:mlflow")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("logged") / "pictures", counts={"train": 4, "valid": 2})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow database; making its tables takes seconds, so that these tests share one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}"


def config(pictures: Path, output: Path, **settings: object) -> TrainingConfig:
    return TrainingConfig(data=pictures, output=output, **{**RESNET, "profile": "off", **settings})


def runs(uri: str, experiment: str) -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]


class Events:
    """What TensorBoard's own reader finds in a folder."""

    def __init__(self, folder: Path) -> None:
        self.reader = EventAccumulator(str(folder))
        self.reader.Reload()

    def scalars(self, name: str) -> list[tuple[int, float]]:
        return [(event.step, event.value) for event in self.reader.Scalars(name)]

    def text(self, name: str) -> str:
        (event,) = self.reader.Tensors(f"{name}/text_summary")
        return str(event.tensor_proto.string_val[0].decode())


def test_tensorboard_reads_back_what_was_trained(pictures: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(pictures, tmp_path / "out", epochs=3), metrics=OWN)
    result = trainer.fit(hooks=[TensorBoardLogger(tmp_path / "tb")])
    events = Events(tmp_path / "tb")
    assert "recall" not in events.reader.Tags()["scalars"], "it has no value"
    for metric in (*BUILT_IN_METRICS, "accuracy"):
        expected = [(record.epoch, pytest.approx(record.values[metric])) for record in result.history]
        assert events.scalars(metric) == expected
    assert events.scalars("best/epoch") == [(result.best_epoch, result.best_epoch)]
    assert events.scalars("best/valid_loss") == [(result.best_epoch, pytest.approx(result.best.valid_loss))]
    assert events.text("artifact") == str(result.artifact)
    assert '"architecture": "resnet18"' in events.text("settings")
    content = events.reader.PluginTagToContent("hparams")
    assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} == set(content)
    assert b"learning_rate" in content["_hparams_/session_start_info"]


def test_mlflow_reads_back_what_was_trained(pictures: Path, tmp_path: Path, database: str) -> None:
    logger = MLflowLogger(database, experiment="read back", tags={"team": "dogs"})
    result = Trainer(config(pictures, tmp_path / "out", epochs=3), metrics=OWN).fit(hooks=[logger])
    (run,) = runs(database, "read back")
    assert (run.info.run_id, run.info.status, run.info.run_name) == (logger.run_id, "FINISHED", "out")
    client = MlflowClient(tracking_uri=database)
    for metric in (*BUILT_IN_METRICS, "accuracy"):
        history = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, metric)]
        assert history == [(record.epoch, record.values[metric]) for record in result.history]
    assert run.data.params["learning_rate"] == "0.005"
    assert run.data.params["train_count"] == "8"
    assert run.data.metrics["best_epoch"] == result.best_epoch
    assert run.data.metrics["best_valid_loss"] == result.best.valid_loss
    assert run.data.metrics["best_accuracy"] == result.best.metrics["accuracy"]
    assert "recall" not in run.data.metrics, "it has no value"
    assert (run.data.tags["artifact"], run.data.tags["team"]) == (str(result.artifact), "dogs")


def test_a_resumed_training_goes_on_with_its_run(pictures: Path, tmp_path: Path, database: str) -> None:
    settings = config(
        pictures, tmp_path / "out", epochs=2, log_to="mlflow", mlflow_uri=database, mlflow_experiment="resumed"
    )
    Trainer(settings).fit()
    result = Trainer(settings.replace(epochs=3, resume=True)).fit()
    (run,) = runs(database, "resumed")
    assert (run.info.status, run.data.params["epochs"]) == ("FINISHED", "2")
    assert run.data.tags["resumed.epochs"] == "3"
    history = MlflowClient(tracking_uri=database).get_metric_history(run.info.run_id, "valid_loss")
    assert [(one.step, one.value) for one in history] == [(each.epoch, each.valid_loss) for each in result.history]
    Trainer(settings).fit()
    assert len(runs(database, "resumed")) == 2, "a training run that is restarted is another MLflow run"
    MlflowClient(tracking_uri=database).delete_experiment(run.info.experiment_id)
    again = Trainer(settings.replace(epochs=3, resume=True, mlflow_experiment="elsewhere")).fit()
    assert (len(again.history), len(runs(database, "elsewhere"))) == (3, 1)


def test_the_command_logs_without_a_warning(pictures: Path, tmp_path: Path, database: str) -> None:
    words = ["train", str(pictures), "--output", str(tmp_path / "out"), "--architecture", "resnet18", "--weights=none"]
    words += ["--epochs=1", "--log-to", "TensorBoard, mlflow", "--mlflow-uri", database, "--mlflow-experiment", "cli"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "breedclf", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "logging failed" not in done.stderr
    assert "Warning" not in done.stderr
    assert len(Events(tmp_path / "out" / "tensorboard").scalars("valid_loss")) == 1
    assert [run.info.status for run in runs(database, "cli")] == ["FINISHED"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"], "nothing in the working folder"


def test_inside_a_job_the_logs_come_back_with_its_output(
    pictures: Path, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    settings = config(pictures, tmp_path / "unused", epochs=2, log_to="tensorboard,mlflow", mlflow_experiment="jobs")
    job = Trainer(settings, backend=InlineBackend(tmp_path / "home")).submit(name="dogs-1").wait()
    assert len(Events(job.output / "tensorboard").scalars("train_loss")) == 2
    (run,) = runs(database, "jobs")
    assert (run.info.status, run.info.run_name) == ("FINISHED", "dogs-1")


class _EndsWith(TrainingHook):
    """Raises after the first epoch."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def on_epoch(self, epoch: EpochRecord) -> None:
        del epoch
        raise self._error


@pytest.mark.parametrize(
    ("error", "status"), [(TrainingError("the loss is gone"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_breaks_off_ends_its_run(
    pictures: Path, tmp_path: Path, database: str, error: BaseException, status: str
) -> None:
    hooks = [MLflowLogger(database, experiment=status), TensorBoardLogger(tmp_path / "tb"), _EndsWith(error)]
    with pytest.raises(type(error)):
        Trainer(config(pictures, tmp_path / "out")).fit(hooks=hooks)
    (run,) = runs(database, status)
    assert run.info.status == status
    assert "train_loss" in run.data.metrics
    assert "best_epoch" not in run.data.metrics
    assert len(Events(tmp_path / "tb").scalars("train_loss")) == 1


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# What `mlflow server` starts, without its second process and its start of many seconds.
SERVER = """
import os, sys
os.environ["_MLFLOW_SERVER_FILE_STORE"] = sys.argv[1]
os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = os.getcwd()
from mlflow.server import app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[2]), app, threaded=True)
"""


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """MLflow's own server over the shared database."""
    MlflowClient(tracking_uri=database).search_experiments()  # makes the tables, for one process alone
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, database, str(port)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    with urllib3.PoolManager(retries=False) as pool:
        until = time.monotonic() + 90
        while time.monotonic() < until and process.poll() is None:
            try:
                if pool.request("GET", f"{url}/health").status == 200:
                    break
            except urllib3.exceptions.HTTPError:
                time.sleep(0.2)
        else:
            pytest.fail("MLflow's server didn't come up")
    yield url, process
    process.terminate()
    process.wait(30)


class _Kills(TrainingHook):
    """Ends MLflow's server after an epoch."""

    def __init__(self, process: subprocess.Popen[bytes], epoch: int) -> None:
        self._process = process
        self._epoch = epoch

    def on_epoch(self, epoch: EpochRecord) -> None:
        if epoch.epoch == self._epoch:
            self._process.terminate()
            self._process.wait(30)


@pytest.mark.slow
def test_by_a_sagemaker_arn_and_on_when_the_server_goes(
    pictures: Path,
    tmp_path: Path,
    database: str,
    server: tuple[str, subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SageMaker's plugin signs and sends requests; only its endpoint is configured here."""
    url, process = server
    monkeypatch.setenv("SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT", url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x" * 16)
    Trainer(config(pictures, tmp_path / "one", epochs=2)).fit(hooks=[MLflowLogger(ARN, experiment="arn")])
    (run,) = runs(database, "arn")
    assert (run.info.status, run.data.metrics["best_epoch"]) == ("FINISHED", 2.0)
    assert warnings_in(caplog) == []
    assert "MLFLOW_TRACKING_URI" not in os.environ, "what the plugin needs for the whole process is taken back"
    assert not mlflow.is_tracking_uri_set()

    hooks = [MLflowLogger(ARN, experiment="arn"), _Kills(process, epoch=2)]
    result = Trainer(config(pictures, tmp_path / "two", epochs=5)).fit(hooks=hooks)
    assert len(result.history) == 5
    (warning,) = warnings_in(caplog)
    assert "MLflow: logging failed" in warning
    assert "training continues" in warning
    half = next(run for run in runs(database, "arn") if run.info.run_name == "two")
    assert half.info.status == "RUNNING"
    client = MlflowClient(tracking_uri=database)
    assert [one.step for one in client.get_metric_history(half.info.run_id, "valid_loss")] == [1, 2]


@pytest.mark.slow
def test_a_server_that_never_was_costs_seconds_and_one_warning(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLflowLogger(f"http://127.0.0.1:{_free_port()}")
    started = time.monotonic()
    result = Trainer(config(pictures, tmp_path / "out", epochs=4)).fit(hooks=[logger])
    assert len(result.history) == 4
    assert time.monotonic() - started < 40
    assert len(warnings_in(caplog)) == 1
    assert result.artifact.is_dir()


def test_a_folder_that_takes_no_events_costs_one_warning(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    result = Trainer(config(pictures, tmp_path / "out")).fit(hooks=[TensorBoardLogger(tmp_path / "file" / "tb")])
    assert result.artifact.is_dir()
    (warning,) = warnings_in(caplog)
    assert "TensorBoard: logging failed" in warning


FULL_DISK = """
import resource, sys
from pathlib import Path
from breedclf import TensorBoardLogger, TrainingConfig
from breedclf.training.fit import FitResult
from breedclf.training.hooks import EpochRecord, TrainingPlan
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
logger = TensorBoardLogger(sys.argv[1])
logger.on_start(TrainingPlan(TrainingConfig(data="x"), ("a", "b"), 8, 4, "cpu", "fp32"))
history = [EpochRecord(number, 1.0, 1.0, 0.5, 10.0) for number in range(1, 200)]
for record in history:
    logger.on_epoch(record)
logger.on_end(FitResult(Path("model"), Path("."), history, 1, 1.0, []))
print("went on")
"""


def test_a_disk_that_fills_up_costs_one_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path / "tb")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    assert done.stderr.count("logging failed") == 1
    assert "Traceback" not in done.stderr
    assert len(Events(tmp_path / "tb").scalars("valid_loss")) > 5, "what fitted can be read"


class _Shelf:
    """A store that is out of order between two moments, and refuses what comes in a wrong order."""

    def __init__(self, out_of_order: Sequence[int]) -> None:
        self.epochs: list[int] = []
        self.calls = 0
        self.ended: RunStatus | None = None
        self.best: int | None = None
        self._started = False
        self._out_of_order = out_of_order

    def _called(self) -> None:
        self.calls += 1
        if self.ended is not None:
            raise AssertionError("called after its end")
        if self.calls in self._out_of_order:
            raise ConnectionError("no answer")

    def start(self, plan: TrainingPlan) -> None:
        del plan
        self._called()
        assert not self._started
        self._started = True

    def add(self, epochs: Sequence[EpochRecord]) -> None:
        self._called()
        assert self._started
        self.epochs += [epoch.epoch for epoch in epochs]

    def finish(self, result: FitResult) -> None:
        self._called()
        self.best = result.best_epoch

    def close(self, status: RunStatus) -> None:
        self._called()
        self.ended = status


@pytest.mark.parametrize("out_of_order", [(1,), (2,), (3,)])
def test_what_is_missing_is_logged_at_the_end(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, out_of_order: Sequence[int]
) -> None:
    shelf = _Shelf(out_of_order)
    result = Trainer(config(pictures, tmp_path / "out", epochs=4)).fit(hooks=[RunLogger("Shelf", shelf)])
    assert (shelf.epochs, shelf.best, shelf.ended) == ([1, 2, 3, 4], result.best_epoch, "Completed")
    assert len(warnings_in(caplog)) == 1
    assert shelf.calls <= 7, "it isn't asked after each epoch once it has failed"


@pytest.mark.parametrize(
    ("package", "make", "message"),
    [
        ("tensorboard", lambda: TensorBoardLogger("x"), r'pip install "breedclf\[tensorboard\]"'),
        ("mlflow", lambda: MLflowLogger(), r'pip install "breedclf\[mlflow\]"'),
        ("sagemaker_mlflow", lambda: MLflowLogger(ARN), "needs sagemaker_mlflow, .*: pip install sagemaker-mlflow"),
    ],
)
def test_a_missing_library_names_what_to_install(
    package: str, make: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert callable(make)
    with pytest.raises(MissingExtraError, match=message):
        make()


def test_settings_name_loggers_in_any_spelling() -> None:
    assert TrainingConfig(data="x").loggers == ()
    assert TrainingConfig(data="x", log_to="TensorBoard , mlflow").log_to == "mlflow,tensorboard"
    assert TrainingConfig(data="x", log_to=["tensorboard"]).loggers == ("tensorboard",)
    with pytest.raises(ConfigError, match=r"log_to='tensorbord' is no logger: did you mean 'tensorboard'\?"):
        TrainingConfig(data="x", log_to="tensorbord")
    with pytest.raises(ConfigError, match="log_to"):
        TrainingConfig(data="x", log_to=3)


def test_a_job_elsewhere_installs_what_its_loggers_need() -> None:
    plain, logged = (
        breedclf_bundle(settings_requirements({"log_to": log_to})).files["requirements.txt"].decode()
        for log_to in ("none", "mlflow,tensorboard")
    )
    assert "mlflow" not in plain
    assert "tensorboard" not in plain
    assert {"mlflow-skinny", "sagemaker-mlflow", "tensorboard"} <= {line.split(">=")[0] for line in logged.split()}
