"""`TuningJob` over jobs: what comes out, and what happens when it is interrupted, stopped, or asked for too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf import Categorical, Continuous, TrainingConfig, TuningJob
from breedclf.errors import ConfigError, DataError, JobError, JobFailedError, MissingExtraError
from breedclf.testing.pages import read_page
from tests.fakes import FakeClock
from tests.tuning.bookkeeping_backend import SPACE, BookkeepingBackend, losses


@pytest.fixture
def backend(tmp_path: Path) -> BookkeepingBackend:
    return BookkeepingBackend(tmp_path, losses)


def tuned(data: Path, backend: BookkeepingBackend, **changes) -> TuningJob:
    values = {"strategy": "grid", "max_parallel_jobs": 2, "name": "study", "clock": FakeClock()}
    return TuningJob(TrainingConfig(data=data), SPACE, backend=backend, **{**values, **changes})


def test_run_starts_and_wait_returns_the_best(data, backend) -> None:
    tuning = tuned(data, backend, max_seconds_per_job=600).run()
    assert (tuning.status, len(tuning.trials)) == ("InProgress", 2)
    best = tuning.wait().best
    assert tuning.status == "Completed"
    assert best.hyperparameters == {"learning_rate": 0.0075, "batch_size": 64}
    assert best.config == TrainingConfig(data=data, learning_rate=0.0075, batch_size=64, objective="valid_loss")
    assert best.objective == pytest.approx(1 / 3)
    assert best.metrics == {"valid_loss": pytest.approx(1 / 3), "valid_accuracy": 0.5}
    assert best.job is not None and best.job.name == best.name and best.job.status == "Completed"
    assert best.artifact == backend.home / "models" / best.name
    assert backend.limits() == {600}
    assert [job.tags for job in backend.list_jobs()] == [{"breedclf-tuning": "study"}] * 6


def test_any_process_attaches_by_name(data, backend) -> None:
    tuned(data, backend).run()
    again = TuningJob.attach("study", backend=backend, clock=FakeClock())
    assert again.wait().best.hyperparameters["learning_rate"] == 0.0075
    with pytest.raises(ConfigError, match="runs on back ?end 'bookkeeping': attach with that one"):
        TuningJob.attach("study", home=backend.home)
    with pytest.raises(ConfigError, match="no tuning job 'other' in .*existing ones are study"):
        TuningJob.attach("other", backend=backend)


def test_rows_have_the_service_s_columns(data, backend) -> None:
    rows = tuned(data, backend).run().wait().rows()
    assert list(rows[0]) == [
        "learning_rate",
        "batch_size",
        "TrainingJobName",
        "TrainingJobStatus",
        "FinalObjectiveValue",
        "TrainingStartTime",
        "TrainingEndTime",
        "TrainingElapsedTimeSeconds",
    ]
    assert [row["TrainingElapsedTimeSeconds"] for row in rows] == [2.0] * 6


def test_the_table_of_pandas_or_what_to_install(data, backend) -> None:
    tuning = tuned(data, backend).run().wait()
    try:
        import pandas
    except ModuleNotFoundError:
        with pytest.raises(MissingExtraError, match=r"pip install pandas, or use rows\(\)"):
            tuning.dataframe()
    else:
        frame = tuning.dataframe()
        assert isinstance(frame, pandas.DataFrame)
        assert len(frame) == 6


def test_the_report_lists_every_job_and_fetches_nothing(data, backend, tmp_path) -> None:
    tuning = tuned(data, backend).run()
    early = read_page(tuning.report(tmp_path / "early.html").read_text())
    assert early.problems == [] and "No training job has completed" in early.text
    page = read_page(tuning.wait().report(tmp_path / "deep" / "tuning.html").read_text())
    assert page.problems == []
    for trial in tuning.trials:
        assert trial.name in page.text
    assert "learning_rate 0.0075, batch_size 64" in page.text
    assert "10 validation images, so one image is 10" in page.text
    assert "5 of the other 5 training jobs aren't significantly worse in accuracy" in page.text


def test_best_says_when_there_is_none_yet(data, backend) -> None:
    tuning = tuned(data, backend).run()
    with pytest.raises(JobError, match=r"no trial of tuning job 'study' has completed yet: wait\(\) for it"):
        _ = tuning.best


def test_all_trials_failing_is_an_error_with_the_reason(data, tmp_path) -> None:
    def fails(pairs: dict[str, str]) -> list[float]:
        raise ArithmeticError(f"the loss is no longer a number of {pairs['epochs']} epochs")

    tuning = tuned(data, BookkeepingBackend(tmp_path, fails)).run()
    with pytest.raises(JobFailedError, match="none of its 3 trials completed .*no longer a number of 3 epochs"):
        tuning.wait()
    assert tuning.wait(check=False).status == "Failed"
    assert all(trial.failure_reason for trial in tuning.trials)
    with pytest.raises(JobFailedError, match="no longer a number"):
        _ = tuning.best


def test_a_failed_trial_stays_in_sight(data, tmp_path) -> None:
    def sometimes(pairs: dict[str, str]) -> list[float]:
        if pairs["learning_rate"] == "0.0075":
            raise ArithmeticError("out of memory")
        return losses(pairs)

    tuning = tuned(data, BookkeepingBackend(tmp_path, sometimes)).run().wait()
    assert [row["TrainingJobStatus"] for row in tuning.rows()].count("Failed") == 2
    assert tuning.best.hyperparameters["learning_rate"] in (0.005, 0.01)
    page = read_page(tuning.report(tmp_path / "tuning.html").read_text())
    assert "out of memory" in page.text


def test_ctrl_c_detaches_and_says_how_to_come_back(data, backend, capsys) -> None:
    tuned(data, backend).run()
    waiting = TuningJob.attach("study", backend=backend, clock=FakeClock(interrupted_sleeps=(1,)))
    with pytest.raises(KeyboardInterrupt):
        waiting.wait()
    told = capsys.readouterr().err
    assert "its running jobs go on" in told
    assert "TuningJob.attach('study', ...).wait()" in told and "breedclf tune --resume study" in told
    assert backend.stopped == []
    assert TuningJob.attach("study", backend=backend, clock=FakeClock()).wait().status == "Completed"


def test_ctrl_c_twice_stops_every_job(data, backend) -> None:
    tuned(data, backend).run()
    waiting = TuningJob.attach("study", backend=backend, clock=FakeClock(interrupted_sleeps=(1, 2)))
    with pytest.raises(KeyboardInterrupt):
        waiting.wait()
    assert waiting.status == "Stopped"
    assert all(job.status.is_final for job in backend.list_jobs())
    assert len(backend.list_jobs()) < 6


def test_stop_stops_every_job_and_keeps_the_trials(data, backend) -> None:
    tuning = tuned(data, backend, max_parallel_jobs=3).run()
    tuning.stop()
    assert sorted(backend.stopped) == [trial.name for trial in tuning.trials]
    assert tuning.wait(check=False).status == "Stopped"
    assert len(tuning.trials) == 3


def test_early_stopping_stops_jobs(data, tmp_path) -> None:
    def slow(pairs: dict[str, str]) -> list[float]:
        return [float(pairs["learning_rate"]) * 100 + 1 / epoch for epoch in range(1, 7)]

    backend = BookkeepingBackend(tmp_path, slow)
    tuning = tuned(data, backend, early_stopping=True).run().wait()
    stopped = [trial for trial in tuning.trials if trial.status == "Stopped"]
    assert [trial.name for trial in stopped] == backend.stopped != []
    assert tuning.best.hyperparameters["learning_rate"] == 0.005


def test_a_taken_name_and_a_second_tuner_are_refused(data, backend) -> None:
    first = tuned(data, backend).run()
    with pytest.raises(ConfigError, match=r"there is a tuning job 'study' already: continue it with TuningJob.attach"):
        tuned(data, backend).run()
    with (
        first._folder.locked(),
        pytest.raises(ConfigError, match="'study' is being run by another process"),
    ):
        TuningJob.attach("study", backend=backend).wait()


def test_nothing_is_started_when_the_images_can_t_be_used(backend, tmp_path) -> None:
    with pytest.raises(DataError):
        tuned(tmp_path / "nowhere", backend).run()
    assert backend.list_jobs() == []
    assert not (backend.home / "tuning").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "valid_los"}, "'valid_los' is not a metric that training jobs print"),
        ({"max_jobs": 0, "strategy": "random"}, "max_jobs=0"),
        ({"name": "a" * 33}, "at most 32"),
        ({"strategy": "hyperband"}, "strategy='hyperband'"),
        ({"target": float("inf")}, "target=inf"),
        ({"max_seconds_per_job": 0}, "max_seconds_per_job=0"),
    ],
)
def test_bad_requests_are_refused_when_they_are_made(data, backend, changes, words) -> None:
    with pytest.raises(ConfigError, match=words):
        tuned(data, backend, **changes)


def test_a_bayesian_search_is_the_same_one_at_a_time_or_side_by_side(data, tmp_path) -> None:
    """What a trial tries depends on the results up to `max_parallel_jobs` back, not on who ended first."""
    space = {"learning_rate": Continuous(0.001, 0.1, "log"), "batch_size": Categorical(32, 64)}

    def uneven(pairs: dict[str, str]) -> list[float]:
        count = 1 + int(float(pairs["learning_rate"]) * 1e6) % 7
        return [abs(float(pairs["learning_rate"]) - 0.01) * 100 + 1 / epoch for epoch in range(1, count + 1)]

    found = []
    for number in (1, 2):
        backend = BookkeepingBackend(tmp_path / str(number), uneven)
        job = TuningJob(
            TrainingConfig(data=data), space, backend=backend, max_jobs=12, max_parallel_jobs=3, clock=FakeClock()
        ).run()
        if number == 2:  # looked at at other moments, jobs end in another order
            for name in [each.name for each in backend.list_jobs()]:
                backend.describe(name)
        found.append([trial.hyperparameters for trial in job.wait().trials])
    assert found[0] == found[1]
