"""Searches whose trials really train: in this process, as jobs of this machine, as one job, and by the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from breedclf import Categorical, Classifier, LocalBackend, Trainer, TrainingConfig, TuningJob
from breedclf.cli import main
from breedclf.errors import ConfigError, JobFailedError
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.tuning.trials import Trial
from tests.integration.conftest import QUICK, write_patterns

SPACE = {"learning_rate": Categorical(0.005, 0.01), "epochs": Categorical(2, 3)}
FLAGS = ["--architecture", "shufflenet_v2_x0_5", "--weights", "none", "--chunk-size", "8"]
FEATURE_PASS = "images through the backbone"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("tune") / "pictures")


def config(pictures: Path, cache: Path, **settings: Any) -> TrainingConfig:
    return TrainingConfig(data=pictures, cache_dir=cache, **{**QUICK, **settings})


def outcome(tuning: TuningJob) -> list[tuple[dict, float | None, str]]:
    return [(trial.hyperparameters, trial.objective, trial.status) for trial in tuning.trials]


def processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(home) in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def here(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> TuningJob:
    """The search in this process, which the others are compared with."""
    root = tmp_path_factory.mktemp("here")
    return TuningJob(config(pictures, root / "cache"), SPACE, strategy="grid", home=root).run()


def test_the_frozen_part_runs_once_whatever_the_number_of_trials(pictures, tmp_path, caplog) -> None:
    with caplog.at_level("INFO", logger="breedclf"):
        tuning = TuningJob(config(pictures, tmp_path / "cache"), SPACE, strategy="grid", home=tmp_path).run()
    assert len(tuning.trials) == 4
    passes = [record.getMessage() for record in caplog.records if FEATURE_PASS in record.getMessage()]
    assert passes == [f"train features: 16 of 16 {FEATURE_PASS}", f"valid features: 8 of 8 {FEATURE_PASS}"]


def test_the_best_config_trains_to_the_best_objective_again(here, tmp_path) -> None:
    best = here.best
    assert best.job is None
    result = Trainer(best.config.replace(output=tmp_path)).fit()
    assert result.best.valid_loss == best.objective
    assert Classifier(best.artifact).predict(next(best.config.data.rglob("*.png"))).top(1)
    models = list(best.artifact.parent.parent.glob("*/model"))
    assert models == [best.artifact], "only the best trial's model is kept"


def test_a_model_is_written_only_when_it_is_the_best_so_far(pictures, tmp_path, monkeypatch) -> None:
    written: list[float] = []

    def noted(folder: Path, card: dict[str, Any], *rest: Any) -> object:
        written.append(card["metrics"]["valid_loss"])
        return write_artifact(folder, card, *rest)

    monkeypatch.setattr("breedclf.training.results.artifact.write_artifact", noted)
    space = {"learning_rate": Categorical(0.0001, 0.01, 0.001)}  # the last one comes between
    tuning = TuningJob(config(pictures, tmp_path / "cache"), space, strategy="grid", home=tmp_path).run()
    first, best, between = (trial.objective for trial in tuning.trials)
    assert best < between < first
    assert written == [first, best]
    assert tuning.best.artifact.is_dir()


@pytest.mark.slow
def test_jobs_side_by_side_and_one_job_find_the_same_with_one_feature_pass(here, pictures, tmp_path) -> None:
    backend = LocalBackend(tmp_path, cores=2)
    spread = TuningJob(
        config(pictures, tmp_path / "cache"), SPACE, strategy="grid", max_parallel_jobs=2, backend=backend
    )
    spread.run().wait()
    assert outcome(spread) == outcome(here)
    logs = [backend.read_log(trial.name)[0] for trial in spread.trials]
    assert sum(log.count(FEATURE_PASS) for log in logs) == 2, "one process computes each view, the others wait"
    assert spread.best.job is not None and Classifier(spread.best.artifact)

    packed = TuningJob(config(pictures, tmp_path / "cache2"), SPACE, strategy="grid", backend=backend, packed=True)
    packed.run().wait()
    assert outcome(packed) == outcome(here)
    assert packed.best.hyperparameters == here.best.hyperparameters
    assert packed.best.job is not None and packed.best.job.metrics["best_valid_loss"] == here.best.objective
    assert Classifier(packed.best.artifact)
    assert len(backend.list_jobs()) == 5
    assert processes_of(tmp_path) == []


TUNER = """
import sys
from breedclf import Categorical, LocalBackend, TrainingConfig, TuningJob
data, home = sys.argv[1:]
quick = {"architecture": "shufflenet_v2_x0_5", "weights": "none", "chunk_size": 8}
config = TrainingConfig(data=data, cache_dir=f"{home}/cache", **quick)
space = {"epochs": Categorical(2, 3)}
backend = LocalBackend(home, cores=2)
TuningJob(config, space, strategy="grid", name="study", max_parallel_jobs=2, backend=backend).run().wait()
"""


def trials_so_far(home: Path) -> list[Trial]:
    try:
        return list(TuningJob.look("study", home=home).trials)
    except ConfigError:
        return []


def test_killed_beside_real_jobs_and_resumed(here, pictures, tmp_path) -> None:
    tuner = subprocess.Popen([sys.executable, "-c", TUNER, str(pictures), str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        # A job that was not yet given its supervisor is found lost after a minute, which is not waited for here.
        while sum(trial.submitted for trial in trials_so_far(tmp_path)) < 2:
            assert tuner.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        tuner.send_signal(signal.SIGKILL)
        tuner.wait()
    backend = LocalBackend(tmp_path, cores=2)
    tuning = TuningJob.attach("study", backend=backend).wait()
    assert [trial.objective for trial in tuning.trials] == [trial.objective for trial in here.trials[:2]]
    assert sorted(job.name for job in backend.list_jobs()) == [trial.name for trial in tuning.trials]
    assert processes_of(tmp_path) == []


def test_a_search_in_this_process_resumes_after_ctrl_c(here, pictures, tmp_path, capsys) -> None:
    def interrupt(study) -> None:
        if sum(trial.is_over for trial in study.trials) == 2:
            raise KeyboardInterrupt

    tuning = TuningJob(config(pictures, tmp_path / "cache"), SPACE, strategy="grid", name="cut", home=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        tuning.run(progress=interrupt)
    assert "its trials so far are kept" in capsys.readouterr().err
    assert (tuning.status, len(tuning.trials)) == ("InProgress", 2)
    again = TuningJob.attach("cut", home=tmp_path).wait()
    assert outcome(again) == outcome(here)
    assert again.best.artifact.is_dir()


def test_a_trial_that_can_t_train_fails_alone(pictures, tmp_path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(find_backbone("resnet18").new_network(seed=0).state_dict(), weights)
    space = {"architecture": Categorical("resnet34", "resnet18")}
    tuning = TuningJob(
        config(pictures, tmp_path),
        space,
        strategy="grid",
        home=tmp_path / "home",
        weights=dict.fromkeys(("resnet34", "resnet18"), weights),
    ).run()
    assert [trial.status for trial in tuning.trials] == ["Failed", "Completed"]
    assert "resnet34" in (tuning.trials[0].failure_reason or "")
    assert tuning.best.hyperparameters == {"architecture": "resnet18"}


def test_a_trial_that_falls_behind_is_stopped_in_its_tracks(pictures, tmp_path) -> None:
    space = {"learning_rate": Categorical(0.01, 0.0001)}
    tuning = TuningJob(config(pictures, tmp_path), space, strategy="grid", early_stopping=True, home=tmp_path).run()
    assert [trial.status for trial in tuning.trials] == ["Completed", "Stopped"]
    assert len(tuning.trials[1].history) == 1
    assert tuning.trials[1].note == "stopped early: epoch 1 was worse than the median of earlier trials"


def test_a_packed_search_that_fails_gives_the_reason(pictures, tmp_path) -> None:
    broken = config(pictures, tmp_path / "cache", device="cuda")
    tuning = TuningJob(broken, SPACE, strategy="grid", backend=LocalBackend(tmp_path), packed=True).run()
    if tuning.wait(check=False).status == "Completed":
        pytest.skip("this machine has a GPU")
    with pytest.raises(JobFailedError, match="none of its .* trials completed"):
        tuning.wait()


def run(capsys, *arguments: str) -> tuple[int, Any, str]:
    code = main(list(arguments))
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else None, told.err


def test_the_command_line_s_fields_and_the_model_it_leaves(here, pictures, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    command = ["tune", str(pictures), *FLAGS, "--learning-rate", "0.005,0.01", "--epochs", "2,3", "--strategy", "grid"]
    code, found, told = run(capsys, *command, "--output", str(tmp_path / "out"), "--json")
    assert code == 0
    assert {"name", "status", "hyperparameters", "objective", "seconds"} <= set(found["trials"][0])
    assert [trial["objective"] for trial in found["trials"]] == [trial.objective for trial in here.trials]
    assert found["best"]["artifact"] == str(tmp_path / "out" / "model")
    assert found["best"]["hyperparameters"] == here.best.hyperparameters
    assert "4/4" in told and "valid_loss" in told
    picture = str(next((pictures / "test").rglob("*.png")))
    assert run(capsys, "predict", found["best"]["artifact"], picture, "--json")[0] == 0
    assert (tmp_path / "out" / "tuning.html").is_file()
    code, again, _ = run(capsys, "tune", "--resume", found["name"], "--output", str(tmp_path / "out"), "--json")
    assert (code, again["trials"]) == (0, found["trials"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "nothing to search for: give at least one setting a range or a list"),
        (["--learning-rate", "0.01:0.005"], "learning_rate: Continuous(0.01, 0.005): the range is reversed"),
        (["--learning-rate", "0.01:0.01"], "the range is empty"),
        (["--learning-rate", "0:0.01:log"], "a logarithmic range must be above 0"),
        (["--learning-rate", "0.005:0.01", "--strategy", "grid"], "'grid' only takes categorical parameters"),
        (["--epochs", "2,3", "--max-jobs", "0"], "max_jobs=0"),
        (["--epochs", "0,3"], "epochs=0"),
        (["--epochs", "2,3", "--objective", "valid_los"], "objective='valid_los'"),
        (["--epochs", "2,3", "--backend", "locl"], "backend='locl': choose"),
        (["--resume", "nobody"], "no tuning job 'nobody'"),
    ],
)
def test_the_command_line_refuses_in_words(pictures, tmp_path, monkeypatch, capsys, flags, words) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    code, _, told = run(capsys, "tune", str(pictures), *FLAGS, *flags)
    assert code == 2
    assert words in told
    assert not list((tmp_path / "home").rglob("study.json"))


def test_an_output_that_holds_something_else_is_refused(pictures, tmp_path, capsys) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("mine")
    code, _, told = run(capsys, "tune", str(pictures), *FLAGS, "--epochs", "2,3", "--output", str(tmp_path))
    assert code == 2
    assert "is not a breedclf model" in told
    assert (tmp_path / "model" / "thesis.txt").read_text() == "mine"


def test_the_mission_s_search_on_real_photos(shared_data, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    code, found, _ = run(
        capsys, "tune", str(shared_data / "dog-breeds-tiny"),
        "--architecture", "resnet18", "--weights", str(shared_data / "weights" / "resnet18-imagenet1k.pth"),
        "--learning-rate", "0.005,0.0075,0.01", "--batch-size", "32,64", "--epochs", "2,3", "--strategy", "grid",
        "--cache-dir", str(tmp_path / "cache"), "--output", str(tmp_path / "out"), "--json",
    )  # fmt: skip
    assert code == 0
    assert len(found["trials"]) == 12
    assert {trial["status"] for trial in found["trials"]} == {"Completed"}
    assert found["best"]["objective"] == min(trial["objective"] for trial in found["trials"])
    assert Classifier(tmp_path / "out" / "model").card.labels
