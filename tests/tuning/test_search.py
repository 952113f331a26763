"""The search over jobs: what it starts and stops, what it keeps, and that no moment to die loses or repeats a trial."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError, ConfigError
from breedclf.tuning.search import MAX_ATTEMPTS, Search, TrialSnapshot
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import Categorical, Continuous
from breedclf.tuning.stopping import Completion
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import best_trial
from tests.tuning.bookkeeping_runner import BookkeepingRunner, quadratic

CHOICES = {"learning_rate": Categorical(0.005, 0.0075, 0.01), "batch_size": Categorical(32, 64)}
RANGE = {"learning_rate": Continuous(0.005, 0.01), "batch_size": Categorical(32, 64)}


def request(**changes) -> SearchRequest:
    values = {
        "name": "study",
        "config": TrainingConfig(data="pictures", epochs=3),
        "space": CHOICES,
        "strategy": "grid",
    }
    return SearchRequest(**{**values, **changes})


def begin(path: Path, wanted: SearchRequest) -> StudyFolder:
    folder = StudyFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.save(Study(request=wanted, key="0123abcd", created=0.0))
    return folder


def drive(folder: StudyFolder, runner, clock=lambda: 0.0, steps: int = 500) -> Study:
    search = Search(folder, runner, clock)
    for _ in range(steps):
        if search.step().is_over:
            assert folder.load() == search.study
            return search.study
    raise AssertionError(f"no end after {steps} steps")


def test_a_grid_runs_completely_with_the_requested_parallelism(tmp_path) -> None:
    class Counting(BookkeepingRunner):
        most = 0

        def submit(self, name, config, *, scored) -> None:
            super().submit(name, config, scored=scored)
            running = sum(job["status"] == "InProgress" for job in self.jobs().values())
            self.most = max(self.most, running)

    runner = Counting(tmp_path / "jobs", quadratic)
    study = drive(begin(tmp_path / "study", request(max_parallel_jobs=2)), runner)
    assert (study.status, len(study.trials), runner.most) == ("Completed", 6, 2)
    assert study.reason == "all 6 trials have run"
    assert all(trial.status == "Completed" and len(trial.history) == 3 for trial in study.trials)
    best = best_trial(study.trials, "minimize")
    assert best.hyperparameters == {"learning_rate": 0.0075, "batch_size": 64}
    assert best.name == "study-004-0123abcd"
    assert best.seconds == 2.0


def test_a_failed_trial_is_recorded_and_the_search_continues(tmp_path) -> None:
    def losses(config: TrainingConfig) -> list[float]:
        if config.learning_rate == 0.0075:
            raise ArithmeticError("the loss is no longer a number")
        return quadratic(config)

    study = drive(begin(tmp_path / "study", request()), BookkeepingRunner(tmp_path / "jobs", losses))
    failed = [trial for trial in study.trials if trial.status == "Failed"]
    assert study.status == "Completed"
    assert len(failed) == 2 and len(study.trials) == 6
    assert failed[0].failure_reason == "the loss is no longer a number"
    assert best_trial(study.trials, "minimize").hyperparameters["learning_rate"] != 0.0075


def test_all_trials_failing_for_one_reason_ends_the_search_early(tmp_path) -> None:
    def losses(config: TrainingConfig) -> list[float]:
        raise ArithmeticError(f"no space left on {config.device}")

    study = drive(begin(tmp_path / "study", request()), BookkeepingRunner(tmp_path / "jobs", losses))
    assert (study.status, len(study.trials)) == ("Failed", 3)
    assert "no space left on auto" in study.reason


def test_a_trial_that_can_t_be_submitted_fails_alone(tmp_path) -> None:
    class Refusing(BookkeepingRunner):
        def submit(self, name, config, *, scored) -> None:
            if config.batch_size == 64 and config.learning_rate == 0.005:
                raise BreedclfError("the quota is used up")
            super().submit(name, config, scored=scored)

    study = drive(begin(tmp_path / "study", request()), Refusing(tmp_path / "jobs", quadratic))
    assert [trial.status for trial in study.trials].count("Failed") == 1
    assert study.trials[1].failure_reason == "the quota is used up"


def test_an_objective_that_is_no_number_is_left_out_of_the_ranking(tmp_path) -> None:
    class Nan(BookkeepingRunner):
        def snapshot(self, name) -> TrialSnapshot | None:
            snapshot = super().snapshot(name)
            if snapshot is not None and snapshot.status == "Completed" and name.startswith("study-004"):
                return TrialSnapshot(status="Completed", history=(0.1, float("nan")), objective=float("nan"))
            return snapshot

    study = drive(begin(tmp_path / "study", request()), Nan(tmp_path / "jobs", quadratic))
    assert study.trials[3].objective is None
    assert study.trials[3].history == (0.1,)
    assert "isn't ranked" in study.trials[3].note
    assert best_trial(study.trials, "minimize").index != 3


def test_a_job_that_hangs_blocks_its_own_place_only_and_ends_with_the_time(tmp_path) -> None:
    def losses(config: TrainingConfig) -> list[float]:
        hangs = config.learning_rate == 0.005 and config.batch_size == 32
        return [9.0] * 1_000 if hangs else quadratic(config)

    seconds = iter(range(10_000))
    wanted = request(max_parallel_jobs=2, completion=Completion(max_seconds=60))
    study = drive(
        begin(tmp_path / "study", wanted), BookkeepingRunner(tmp_path / "jobs", losses), lambda: next(seconds)
    )
    assert [trial.status for trial in study.trials] == ["Stopped"] + ["Completed"] * 5
    assert study.status == "Completed"
    assert "time limit of 60 s" in study.reason


def test_early_stopping_stops_what_falls_behind(tmp_path) -> None:
    def losses(config: TrainingConfig) -> list[float]:
        return [config.learning_rate * 100 + 1 / epoch for epoch in range(1, 6)]

    wanted = request(early_stopping=True)
    study = drive(begin(tmp_path / "study", wanted), BookkeepingRunner(tmp_path / "jobs", losses))
    stopped = [trial for trial in study.trials if trial.status == "Stopped"]
    assert stopped and all(trial.hyperparameters["learning_rate"] > 0.005 for trial in stopped)
    assert "worse than the median" in stopped[0].note
    assert best_trial(study.trials, "minimize").status == "Completed"


def test_a_target_stops_the_rest(tmp_path) -> None:
    wanted = request(max_parallel_jobs=3, completion=Completion(target=0.6))
    study = drive(begin(tmp_path / "study", wanted), BookkeepingRunner(tmp_path / "jobs", quadratic))
    assert study.status == "Completed"
    assert "target objective 0.6" in study.reason
    assert len(study.trials) < 6 or "Stopped" in {trial.status for trial in study.trials}


def test_stopping_stops_every_job(tmp_path) -> None:
    folder = begin(tmp_path / "study", request(max_parallel_jobs=3))
    runner = BookkeepingRunner(tmp_path / "jobs", quadratic)
    search = Search(folder, runner, lambda: 0.0)
    search.step()
    folder.stop_file.touch()
    search.step()
    assert search.step().status == "Stopped"
    assert {job["status"] for job in runner.jobs().values()} == {"Stopped"}
    assert len(search.study.trials) == 3


def test_a_lost_job_is_started_again_under_another_name_but_not_for_ever(tmp_path) -> None:
    folder = begin(tmp_path / "study", request())
    runner = BookkeepingRunner(tmp_path / "jobs", quadratic)
    search = Search(folder, runner, lambda: 0.0)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        search.step()
        trial = search.study.trials[0]
        assert trial.attempt == attempt
        runner.lose(trial.name)
        search.step()
    assert search.study.trials[0].name == "study-001-0123abcd-r3"
    assert search.study.trials[0].status == "Failed"
    assert drive(folder, runner).trials[1].status == "Completed"


def test_a_job_removed_under_us_fails_alone(tmp_path) -> None:
    folder = begin(tmp_path / "study", request())
    runner = BookkeepingRunner(tmp_path / "jobs", quadratic)
    Search(folder, runner, lambda: 0.0).step()
    next((tmp_path / "jobs").glob("*.json")).unlink()
    study = drive(folder, runner)
    assert [trial.status for trial in study.trials] == ["Failed"] + ["Completed"] * 5
    assert "the job no longer exists" in study.trials[0].failure_reason


class Killed(BaseException):
    """Simulates the end of the process."""


def dying_at(act: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process end just before (odd) or just after (even) the act of this number."""
    count = iter(range(1, 1_000_000))

    def watched(function):
        def call(*arguments, **named):
            if next(count) == act:
                raise Killed
            answer = function(*arguments, **named)
            if next(count) == act:
                raise Killed
            return answer

        return call

    for owner, name in ((StudyFolder, "save"), (BookkeepingRunner, "submit"), (BookkeepingRunner, "stop")):
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))


@pytest.mark.parametrize(
    ("space", "strategy", "confirm_seeds"),
    [(CHOICES, "grid", 0), (RANGE, "bayesian", 0), ({"batch_size": Categorical(32, 64)}, "grid", 2)],
)
def test_dying_at_any_act_loses_and_repeats_no_trial(tmp_path, monkeypatch, space, strategy, confirm_seeds) -> None:
    max_jobs = 2 if confirm_seeds else 6
    wanted = request(
        space=space, strategy=strategy, max_parallel_jobs=2, max_jobs=max_jobs, confirm_seeds=confirm_seeds
    )
    whole = drive(begin(tmp_path / "whole", wanted), BookkeepingRunner(tmp_path / "whole" / "jobs", quadratic))
    expected = [(run.name, run.hyperparameters, run.objective) for run in whole.runs]
    assert len(expected) == max_jobs + 2 * confirm_seeds
    act, died = 0, True
    while died:
        act += 1
        path = tmp_path / f"died-{act}"
        folder, runner = begin(path, wanted), BookkeepingRunner(path / "jobs", quadratic)
        with monkeypatch.context() as patch:
            dying_at(act, patch)
            try:
                drive(folder, runner)
                died = False
            except Killed:
                pass
        study = drive(folder, runner)
        assert [(run.name, run.hyperparameters, run.objective) for run in study.runs] == expected
        assert study.confirmation == whole.confirmation
        assert sorted(runner.jobs()) == sorted(run.name for run in study.runs)
    assert act > 30


@pytest.mark.parametrize(("kills", "max_jobs"), [(5, 50), pytest.param(20, 150, marks=pytest.mark.slow)])
def test_killed_by_the_system_at_random_moments(tmp_path, kills, max_jobs) -> None:
    wanted = request(space=RANGE, strategy="random", max_jobs=max_jobs, max_parallel_jobs=4)
    whole = drive(
        begin(tmp_path / "whole", wanted), BookkeepingRunner(tmp_path / "whole" / "jobs", quadratic), steps=5_000
    )
    folder = begin(tmp_path / "study", wanted)
    root = Path(__file__).parents[2]
    source, seen, killed = random.Random(7), 0, 0
    while killed < kills:
        process = subprocess.Popen([sys.executable, "-m", "tests.tuning.killable_search", str(folder.path)], cwd=root)
        try:
            deadline = time.monotonic() + 30
            while not (over := process.poll() is not None) and len(folder.load().trials) == seen:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(source.random() * 0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not over, "the search ended before it was killed often enough"
        trials = folder.load().trials
        assert len(trials) >= seen
        seen, killed = len(trials), killed + 1
    runner = BookkeepingRunner(folder.path / "jobs", quadratic)
    study = drive(folder, runner, steps=5_000)
    assert [t.hyperparameters for t in study.trials] == [t.hyperparameters for t in whole.trials]
    assert [t.objective for t in study.trials] == [t.objective for t in whole.trials]
    assert sorted(runner.jobs()) == [trial.name for trial in study.trials]


def test_two_tuners_of_one_name_are_refused(tmp_path) -> None:
    folder = begin(tmp_path / "study", request())
    with (
        folder.locked(),
        pytest.raises(ConfigError, match="'study' is being run by another process"),
        StudyFolder(folder.path).locked(),
    ):
        pass
    with folder.locked():
        pass


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "x" * 33}, "33 characters; at most 32"),
        ({"name": "my study"}, "letters, digits and, between them, hyphens"),
        ({"objective": "valid_los"}, "did you mean 'valid_loss'"),
        ({"strategy": "grit"}, "strategy='grit'"),
        ({"strategy": "random", "max_jobs": 0}, "max_jobs=0"),
        ({"max_parallel_jobs": 0}, "max_parallel_jobs=0"),
        ({"space": RANGE}, "only takes categorical parameters"),
        ({"max_jobs": 5}, "tries all 6 combinations"),
        ({"strategy": "random", "grid_points": 3}, "is only valid with strategy 'grid'"),
        ({"space": {"seed": Categorical(*range(30)), "view_seed": Categorical(*range(30))}}, "900 combinations"),
    ],
)
def test_a_request_is_refused_as_a_whole_before_any_job(changes, words) -> None:
    with pytest.raises(ConfigError, match=words):
        request(**changes)


def test_a_state_that_can_t_be_read_says_so(tmp_path) -> None:
    folder = begin(tmp_path / "study", request())
    with pytest.raises(ConfigError, match=r"no tuning job 'other' in .*: existing ones are study"):
        StudyFolder(tmp_path / "other").load()
    text = folder.file.read_text()
    folder.file.write_text(text[:-20])
    with pytest.raises(BreedclfError, match="can't be read"):
        folder.load()
    folder.file.write_text(text.replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(ConfigError, match="newer breedclf"):
        folder.load()
    folder.file.write_text(text.replace('"key"', '"kee"'))
    with pytest.raises(BreedclfError, match="damaged"):
        folder.load()
