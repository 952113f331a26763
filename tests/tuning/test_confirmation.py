"""Confirming the best trials with other seeds: what is run again, what counts as a difference, and who is the best."""

from __future__ import annotations

import json
import random

import pytest

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.tuning.confirmation import confirm, contenders
from breedclf.tuning.packed import packed_pairs, study_from_lines, study_line
from breedclf.tuning.search import Search
from breedclf.tuning.space import Categorical
from breedclf.tuning.stopping import Completion
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import SeedRun, Trial
from tests.tuning.bookkeeping_runner import BookkeepingRunner, quadratic
from tests.tuning.test_search import begin, drive, request

SEEDS = (1, 2, 3, 4, 5)


def trial(index: int, objective: float | None, status: str = "Completed") -> Trial:
    return Trial(name=f"t{index}", index=index, hyperparameters={}, status=status, objective=objective)


def compared(losses: list[list[list[float]]], direction: str = "minimize"):
    """The confirmation of trials with these values, by trial, seed and image."""
    means = [[sum(images) / len(images) for images in seeds] for seeds in losses]
    runs = [
        SeedRun(name="r", index=index, hyperparameters={}, seed=seed, status="Completed", objective=means[index][at])
        for index in range(len(losses))
        for at, seed in enumerate(SEEDS)
    ]
    scores = {(index, seed): losses[index][at] for index in range(len(losses)) for at, seed in enumerate(SEEDS)}
    return confirm([trial(index, index / 10) for index in range(len(losses))], runs, SEEDS, scores, direction)


def noisy(mean: float, *, seeds: float, images: float, count: int = 40, source: int = 0) -> list[list[float]]:
    """Losses by seed and image: `images` is the noise of an image over all seeds, `seeds` that of a seed."""
    random_ = random.Random(source)
    of_image = [random_.gauss(0, images) for _ in range(count)]
    return [[mean + shift + each for each in of_image] for shift in (random_.gauss(0, seeds) for _ in SEEDS)]


def test_the_four_best_are_run_again_the_earliest_of_equal_ones_first() -> None:
    trials = [trial(0, 0.5), trial(1, 0.2), trial(2, 0.3), trial(3, 0.2), trial(4, None, "Failed"), trial(5, 0.4)]
    assert [each.index for each in contenders(trials, "minimize")] == [1, 3, 2, 5]
    assert [each.index for each in contenders(trials, "maximize")] == [0, 5, 2, 1]
    assert contenders([trial(0, 0.5), trial(1, 0.2, "Stopped")], "minimize") == []


def test_a_difference_over_seeds_and_images_is_one() -> None:
    found = compared([noisy(0.2, seeds=0.001, images=0.01), noisy(0.3, seeds=0.001, images=0.01, source=1)])
    assert found.best == "t0" and found.level_with == ()
    assert found.trials[0].p_value is None and found.trials[1].p_value < 0.001
    assert found.trials[1].mean == pytest.approx(0.3, abs=0.01)
    assert 0 < found.trials[1].spread < 0.003


@pytest.mark.parametrize(
    "noise", [{"seeds": 0.2, "images": 0.01}, {"seeds": 0.001, "images": 0.5}], ids=["seeds", "images"]
)
def test_a_difference_that_may_be_chance_of_either_kind_is_a_tie(noise) -> None:
    found = compared([noisy(0.2, source=2, **noise), noisy(0.25, source=3, **noise)])
    assert found.level_with == ("t1",)


def test_equal_trials_are_level() -> None:
    same = noisy(0.2, seeds=0.01, images=0.1)
    found = compared([same, same])
    assert (found.level_with, found.trials[1].p_value) == (("t1",), 1.0)


def test_the_best_changes_only_to_one_that_is_significantly_better() -> None:
    quiet = {"seeds": 0.0005, "images": 0.01}
    slightly = compared([noisy(0.2, **quiet), noisy(0.1995, source=1, **quiet)])
    assert (slightly.best, slightly.level_with) == ("t0", ("t1",))
    clearly = compared([noisy(0.3, **quiet), noisy(0.2, source=1, **quiet), noisy(0.1, source=2, **quiet)])
    assert (clearly.best, clearly.level_with) == ("t2", ())
    other_way = compared([noisy(0.3, **quiet), noisy(0.2, source=1, **quiet)], "maximize")
    assert other_way.best == "t0"


def test_equal_trials_are_rarely_told_apart() -> None:
    """Four trials without any difference: at most one comparison in twenty may find one."""
    found = 0
    for repetition in range(100):
        losses = [noisy(0.2, seeds=0.01, images=0.1, source=repetition * 4 + index) for index in range(4)]
        found += len(compared(losses).level_with) < 3
    assert found <= 8


def test_too_few_runs_or_scores_leave_the_question_open() -> None:
    trials = [trial(0, 0.1), trial(1, 0.2)]
    runs = [
        SeedRun(name="r", index=index, hyperparameters={}, seed=seed, status="Completed", objective=0.1 + index)
        for index, seed in [(0, 1), (0, 2), (1, 1)]
    ]
    found = confirm(trials, runs, SEEDS[:3], {(0, 1): [0.1], (0, 2): [0.1], (1, 1): [1.1]}, "minimize")
    assert found.level_with == ("t1",) and found.trials[1].p_value is None
    assert found.trials[1].objectives == (1.1, None, None)
    assert confirm(trials, runs[1:], SEEDS[:3], {}, "minimize") is None


def test_a_search_ends_with_its_best_trials_confirmed(tmp_path) -> None:
    runner = BookkeepingRunner(tmp_path / "jobs", quadratic)
    study = drive(begin(tmp_path / "study", request(confirm_seeds=3, max_parallel_jobs=2)), runner)
    assert (study.status, study.reason, len(study.trials)) == ("Completed", "all 6 trials have run", 6)
    assert [(run.index, run.seed) for run in study.seed_runs[:5]] == [(3, 1), (2, 1), (1, 1), (5, 1), (3, 2)]
    assert study.seed_runs[4].name == "study-004-0123abcd-s2"
    assert runner.jobs()["study-004-0123abcd-s2"]["settings"]["seed"] == 2
    assert study.best == study.trials[3] and study.confirmation.best == study.best.name
    assert study.confirmation.seeds == (1, 2, 3)
    assert StudyFolder(tmp_path / "study").load() == study
    assert study_from_lines([study_line(study)], Study(request=study.request, key=study.key, created=0.0)) == study


def test_a_better_trial_takes_over_with_its_model(tmp_path) -> None:
    lucky = {0.0075: 0.3, 0.005: 0.4, 0.01: 0.5}

    def losses(config: TrainingConfig) -> list[float]:
        changed = 0.3 if config.seed and config.learning_rate == 0.0075 else 0.0
        return [lucky[config.learning_rate] + changed]

    runner = BookkeepingRunner(tmp_path / "jobs", losses, lambda loss, seed: [loss, loss + 0.001 * seed, loss])
    wanted = request(space={"learning_rate": Categorical(0.0075, 0.005, 0.01)}, confirm_seeds=3)
    study = drive(begin(tmp_path / "study", wanted), runner)
    assert study.best == study.trials[1]
    assert runner.restored == [(study.trials[1].name, 0)]


def test_without_confirmation_the_files_are_the_same_as_before(tmp_path) -> None:
    study = drive(begin(tmp_path / "study", request()), BookkeepingRunner(tmp_path / "jobs", quadratic))
    document = json.loads(StudyFolder(tmp_path / "study").file.read_text())
    assert not {"seed_runs", "confirmation"} & set(document)
    assert "confirm_seeds" not in document["request"]
    assert "confirm_seeds" not in packed_pairs(study)["search"]
    assert set(json.loads(study_line(study).split(" ", 1)[1])) == {"status", "reason", "active_seconds", "trials"}


def test_the_end_of_the_time_or_stopping_ends_confirmation_with_what_there_is(tmp_path) -> None:
    ticks = iter(range(1_000))
    wanted = request(confirm_seeds=3, completion=Completion(max_seconds=20.0))
    study = drive(begin(tmp_path / "time", wanted), BookkeepingRunner(tmp_path / "a", quadratic), lambda: next(ticks))
    assert study.status == "Completed" and "its confirmation: the time limit of 20 s" in study.reason
    assert study.best == study.trials[3] and study.confirmation is None

    folder = begin(tmp_path / "stopped", request(confirm_seeds=3))
    search = Search(folder, BookkeepingRunner(tmp_path / "b", quadratic), lambda: 0.0)
    while not any(run.is_over for run in search.study.seed_runs):
        search.step()
    folder.stop_file.touch()
    study = drive(folder, BookkeepingRunner(tmp_path / "b", quadratic))
    assert study.status == "Stopped" and study.best == study.trials[3]
    assert {run.status for run in study.seed_runs} == {"Completed", "Stopped"}


def test_a_lost_run_is_restarted_with_its_seed(tmp_path) -> None:
    folder, runner = begin(tmp_path / "study", request(confirm_seeds=2)), BookkeepingRunner(tmp_path / "j", quadratic)
    search = Search(folder, runner, lambda: 0.0)
    while not any(run.submitted for run in search.study.seed_runs):
        search.step()
    runner.lose("study-004-0123abcd-s1")
    study = drive(folder, runner)
    assert study.seed_runs[0].name == "study-004-0123abcd-s1-r2"
    assert study.seed_runs[0].seed == 1 and study.seed_runs[0].status == "Completed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"confirm_seeds": 1}, "confirm_seeds=1: the spread over seeds needs two or more"),
        ({"confirm_seeds": -1}, "confirm_seeds"),
        ({"confirm_seeds": 3, "space": {"seed": Categorical(1, 2)}}, "values of seed, too: remove one of them"),
    ],
    ids=["one", "negative", "seed-in-space"],
)
def test_seeds_that_confirm_nothing_are_refused(changes, words) -> None:
    with pytest.raises(ConfigError, match=words):
        request(**changes)
