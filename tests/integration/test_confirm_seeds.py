"""Searches whose best trials really train again with other seeds: in this process, as jobs, in one job, and killed."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from breedclf import Categorical, Classifier, InlineBackend, Trainer, TrainingConfig, TuningJob
from breedclf.cli import main
from breedclf.models.backbones.backbone import find_backbone
from breedclf.tuning.confirmation import Confirmation, ConfirmedTrial
from breedclf.tuning.scores_file import read_scores
from breedclf.tuning.study import Study
from tests.integration.conftest import RESNET, write_patterns

SPACE = {"learning_rate": Categorical(0.005, 0.01)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and beside them weights, so that all seeds share the features."""
    root = tmp_path_factory.mktemp("confirm")
    torch.save(find_backbone("resnet18").new_network(seed=0).state_dict(), root / "weights.pth")
    return write_patterns(root / "images")


def search(images: Path, **settings: Any) -> TuningJob:
    quick = {**RESNET, "weights": str(images.parent / "weights.pth")}
    config = TrainingConfig(data=images, cache_dir=images.parent / "cache", epochs=2, **quick)
    values = {"strategy": "grid", "name": "study", "confirm_seeds": 2, **settings}
    return TuningJob(config, SPACE, **values)


@pytest.fixture(scope="module")
def here(images: Path, tmp_path_factory: pytest.TempPathFactory) -> TuningJob:
    """The search in this process, which the others are compared with."""
    root = tmp_path_factory.mktemp("here")
    return search(images, home=root).run()


def results(study: Study) -> list[tuple[object, ...]]:
    """What came out, without names and times, which have the search's key."""
    assert study.confirmation is not None
    confirmed = [(trial.objectives, trial.p_value) for trial in study.confirmation.trials]
    return [*((run.index, run.seed, run.objective) for run in study.seed_runs), *confirmed]


def test_runs_with_other_seeds_are_what_a_trainer_makes_of_them(here, tmp_path) -> None:
    study = here.study
    assert [(run.seed, run.status) for run in study.seed_runs] == [(1, "Completed")] * 2 + [(2, "Completed")] * 2
    run = study.seed_runs[0]
    config = study.request.config_of(run)
    assert (config.seed, config.learning_rate) == (1, study.trials[run.index].hyperparameters["learning_rate"])
    assert Trainer(config.replace(output=tmp_path)).fit().best.valid_loss == run.objective
    trials = here.best.artifact.parent.parent
    for each in study.seed_runs:
        scores = read_scores(trials / each.name)
        assert scores is not None and len(scores) == 8
        assert statistics.fmean(scores) == pytest.approx(each.objective, rel=1e-5)
    assert list(trials.glob("*/model")) == [here.best.artifact]
    others = {trial.name for trial in here.trials} - {here.best.name}
    assert set(here.best.level_with or ()) <= others and here.best.level_with is not None


@pytest.mark.parametrize("packed", [pytest.param(False, marks=pytest.mark.slow), True], ids=["jobs", "packed"])
def test_jobs_find_the_same(here, images, tmp_path, packed) -> None:
    backend = InlineBackend(tmp_path)
    tuning = search(images, backend=backend, packed=packed).run().wait()
    assert results(tuning.study) == results(here.study)
    assert tuning.best.hyperparameters == here.best.hyperparameters
    assert Classifier(tuning.best.artifact)
    assert len(backend.list_jobs()) == (1 if packed else 6)


KILLED = """
import os, signal, sys
from pathlib import Path
from breedclf.config import TrainingConfig
from tests.integration.test_confirm_seeds import search

def kill(study):
    if sum(run.is_over for run in study.seed_runs) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

search(Path(sys.argv[1]), home=sys.argv[2]).run(progress=kill)
"""


@pytest.mark.slow
def test_a_killed_confirmation_continues(here, images, tmp_path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.run([sys.executable, "-c", KILLED, str(images), str(tmp_path)], cwd=root, check=False)
    assert process.returncode == -signal.SIGKILL
    tuning = TuningJob.attach("study", home=tmp_path)
    done = [run for run in tuning.study.seed_runs if run.is_over]
    assert (tuning.status, len(done)) == ("InProgress", 2)
    study = tuning.wait().study
    assert results(study) == results(here.study)
    assert study.seed_runs[: len(done)] == tuple(done), "none runs twice"


def test_the_model_of_a_trial_that_takes_over_is_there(images, tmp_path, monkeypatch) -> None:
    def second_is_better(trials, *_rest) -> Confirmation:
        confirmed = tuple(ConfirmedTrial(name=trial.name, objectives=()) for trial in trials)
        return Confirmation(best=trials[1].name, seeds=(1, 2), trials=confirmed)

    monkeypatch.setattr("breedclf.tuning.search.confirm", second_is_better)
    tuning = search(images, home=tmp_path).run()
    best = tuning.best
    assert best.objective > min(trial.objective or 0.0 for trial in tuning.trials)
    card = json.loads((best.artifact / "breedclf.json").read_text())
    assert card["metrics"]["valid_loss"] == best.objective
    assert list(best.artifact.parent.parent.glob("*/model")) == [best.artifact]


def test_the_command_line_names_the_ties(here, images, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    flags = ["--architecture", "resnet18", "--chunk-size", "8", "--learning-rate", "0.005,0.01"]
    flags += ["--weights", str(images.parent / "weights.pth"), "--cache-dir", str(images.parent / "cache")]
    command = ["tune", str(images), *flags, "--epochs", "2", "--strategy", "grid", "--output", str(tmp_path / "out")]
    assert main([*command, "--confirm-seeds", "2", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["best"]["level_with"] == [
        trial["name"] for trial in found["confirmation"]["trials"] if trial["is_level"]
    ]
    assert found["confirmation"]["seeds"] == [1, 2]
    means = [trial["mean"] for trial in found["confirmation"]["trials"]]
    assert means == [trial.mean for trial in here.study.confirmation.trials]
    assert told.err.count("again") == 4
    assert "other seeds" in (tmp_path / "out" / "tuning.html").read_text()
    assert main([*command, "--confirm-seeds", "1"]) == 2
    assert "confirm_seeds=1: the spread over seeds needs two or more" in capsys.readouterr().err
