"""Searches that a backend runs by itself: what is mirrored, how often it is asked, and what happens in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf import Categorical, Continuous, TrainingConfig, TuningJob
from breedclf.api.native_tuning import native_search
from breedclf.errors import BreedclfError, ConfigError, JobFailedError
from breedclf.tuning.native import NativeDescription, NativeTrial, NativeTuning, disagreement, mirrored, typed_values
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.study import Study
from tests.fakes import FakeClock
from tests.tuning.bookkeeping_backend import SPACE, losses
from tests.tuning.native_backend import NativeBackend


@pytest.fixture
def backend(tmp_path: Path) -> NativeBackend:
    return NativeBackend(tmp_path, losses)


def tuned(data: Path, backend: NativeBackend, **changes) -> TuningJob:
    clock = changes.pop("clock", FakeClock())
    backend.time = clock.monotonic
    values = {"strategy": "grid", "max_parallel_jobs": 2, "name": "study", "clock": clock}
    return TuningJob(TrainingConfig(data=data), SPACE, backend=backend, **{**values, **changes})


def test_the_search_is_started_once_and_mirrored_to_its_end(data, backend) -> None:
    assert isinstance(backend, NativeTuning)
    tuning = tuned(data, backend, max_seconds_per_job=600).run()
    assert (backend.creations, tuning.status, tuning.trials) == (1, "InProgress", [])
    best = tuning.wait().best
    assert (backend.creations, tuning.status, len(tuning.trials)) == (1, "Completed", 6)
    assert best.hyperparameters == {"learning_rate": 0.0075, "batch_size": 64}
    assert best.objective == pytest.approx(1 / 3, abs=1e-4)
    assert best.metrics == {"valid_loss": pytest.approx(1 / 3), "valid_accuracy": 0.5}
    assert best.config == TrainingConfig(data=data, learning_rate=0.0075, batch_size=64, objective="valid_loss")
    assert best.artifact == backend.home / "models" / best.name
    assert best.job is not None and best.job.name == best.name
    assert [trial.index for trial in tuning.trials] == list(range(6))
    assert tuning.trials[0].history == (0.35 + 1, 0.35 + 0.5, 0.35 + 1 / 3)
    assert tuning.study.active_seconds == 60.0
    search = backend.searches["study"]
    assert search.job.max_runtime_seconds == 600
    assert search.job.tags == {"breedclf-tuning": "study"}
    assert set(search.shared) & set(SPACE) == set() and search.shared["epochs"] == "3"
    assert search.metric == "best_valid_loss"


def test_the_service_is_polled_at_most_four_times_a_minute(data, backend) -> None:
    clock = FakeClock()
    tuning = tuned(data, backend, clock=clock).run()
    tuning.wait()
    begin, end = backend.described[0], clock.now
    during = [moment for moment in backend.described if begin < moment < end]
    assert len(backend.described) >= 6 + 4, "trials were looked into"
    for moment in during:
        assert sum(moment <= other < moment + 60 for other in during) <= 4


def test_another_process_and_another_machine_attach(data, backend, tmp_path) -> None:
    tuned(data, backend).run()
    here = TuningJob.attach("study", backend=backend, clock=FakeClock()).wait()
    there = TuningJob.attach("study", backend=backend, home=tmp_path / "elsewhere", clock=FakeClock()).wait()
    assert there.best.hyperparameters == here.best.hyperparameters
    assert there.best.config == here.best.config
    assert [trial.name for trial in there.trials] == [trial.name for trial in here.trials]
    with pytest.raises(ConfigError, match="no tuning job 'other'"):
        TuningJob.attach("other", backend=backend, clock=FakeClock())
    assert backend.creations == 1


def test_ctrl_c_leaves_the_search_alone_and_a_second_one_stops_it(data, backend, capsys) -> None:
    tuned(data, backend).run()
    with pytest.raises(KeyboardInterrupt):
        TuningJob.attach("study", backend=backend, clock=FakeClock(interrupted_sleeps=(2,))).wait()
    assert "it goes on by itself; continue with TuningJob.attach('study', ...)" in capsys.readouterr().err
    assert backend.stopped == []
    with pytest.raises(KeyboardInterrupt):
        TuningJob.attach("study", backend=backend, clock=FakeClock(interrupted_sleeps=(1, 2))).wait()
    stopped = TuningJob.attach("study", backend=backend, clock=FakeClock())
    assert stopped.status == "Stopped" and backend.stopped != []
    assert all(trial.is_over for trial in stopped.trials)


def test_stop_asks_the_service(data, backend) -> None:
    tuning = tuned(data, backend).run()
    tuning.stop()
    assert tuning.wait(check=False).status == "Stopped"
    assert backend.creations == 1


def test_a_search_written_down_but_never_started_is_started_by_who_carries_it_on(data, backend) -> None:
    tuning = tuned(data, backend)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "create_tuning", _interrupted)
        tuning.run()
    assert backend.creations == 0
    assert TuningJob.attach("study", backend=backend, clock=FakeClock()).wait().status == "Completed"
    assert backend.creations == 1


def test_a_service_that_is_slow_to_know_its_own_search(data, tmp_path) -> None:
    backend = NativeBackend(tmp_path, losses, hidden_looks=3)
    assert tuned(data, backend).run().wait().status == "Completed"
    assert set(backend.searches) == {"study"}


def test_a_search_that_somebody_removes_ends_as_failed_and_keeps_its_trials(data, backend) -> None:
    tuned(data, backend).run()
    with pytest.raises(KeyboardInterrupt):
        TuningJob.attach("study", backend=backend, clock=FakeClock(interrupted_sleeps=(4,))).wait()
    backend.remove_search("study")
    again = TuningJob.attach("study", backend=backend, clock=FakeClock())
    with pytest.raises(JobFailedError, match="no longer exists: it was deleted"):
        again.wait()
    assert again.trials


def test_failed_trials_stay_and_all_failing_is_an_error(data, tmp_path) -> None:
    def sometimes(pairs: dict[str, str]) -> list[float]:
        if pairs["learning_rate"] == "0.0075":
            raise ArithmeticError("out of memory")
        return losses(pairs)

    tuning = tuned(data, NativeBackend(tmp_path / "some", sometimes)).run().wait()
    assert [trial.status for trial in tuning.trials].count("Failed") == 2
    assert {trial.failure_reason for trial in tuning.trials} == {None, "out of memory"}
    assert tuning.best.hyperparameters["learning_rate"] in (0.005, 0.01)

    def never(_pairs: dict[str, str]) -> list[float]:
        raise ArithmeticError("out of memory")

    with pytest.raises(JobFailedError, match="no training job completed .*out of memory"):
        tuned(data, NativeBackend(tmp_path / "none", never)).run().wait()


def test_packed_takes_one_job_also_where_searches_are_native(data, backend) -> None:
    tuning = tuned(data, backend, packed=True).run()
    assert backend.creations == 0
    assert len(backend.list_jobs()) == 1
    assert "study-all" in backend.list_jobs()[0].name
    assert tuning.status == "InProgress"


def test_the_earliest_of_equals_is_best_regardless_of_the_service(data) -> None:
    study = Study(request=_request(data), key="0123abcd", created=0.0)
    told = _told(("b", 2.0, 0.5), ("a", 1.0, 0.5), ("c", 3.0, 0.7), best="b")
    seen = mirrored(study, told)
    assert [trial.name for trial in seen.trials] == ["a", "b", "c"]
    assert seen.best is not None and seen.best.name == "a"
    assert disagreement(seen, told) is None
    worse = _told(("a", 1.0, 0.5), ("c", 3.0, 0.7), best="c")
    assert disagreement(mirrored(study, worse), worse) == (
        "the service reports c as the best trial, but by its list of trials it is a"
    )


def test_known_details_of_a_trial_are_kept(data) -> None:
    study = mirrored(Study(request=_request(data), key="0123abcd", created=0.0), _told(("a", 1.0, 0.5)))
    detailed = study.trials[0].model_copy(update={"metrics": {"valid_accuracy": 0.9}, "history": (0.6, 0.5)})
    again = mirrored(study.model_copy(update={"trials": (detailed,)}), _told(("a", 1.0, 0.5), ("b", 2.0, float("nan"))))
    assert again.trials[0].metrics == {"valid_accuracy": 0.9}
    assert again.trials[1].objective is None
    assert again.trials[1].note is not None and "isn't ranked" in again.trials[1].note


def test_a_grid_s_ranges_become_the_values_that_it_takes(data) -> None:
    request = SearchRequest(
        name="study",
        config=TrainingConfig(data=data),
        space={"learning_rate": Continuous(0.001, 0.1, "log")},
        strategy="grid",
        grid_points=3,
    )
    parameter = native_search(request).space["learning_rate"]
    assert isinstance(parameter, Categorical)
    assert parameter.values == pytest.approx((0.001, 0.01, 0.1))


@pytest.mark.parametrize(
    ("text", "parameter", "value"),
    [
        ("0.0050", Categorical(0.005, 0.01), 0.005),
        ('"64"', Categorical(32, 64), 64),
        ("true", Categorical(False, True), True),
        ("linear", Categorical("standardized", "linear"), "linear"),
        ("6.1E-3", Continuous(0.005, 0.01), 0.0061),
    ],
)
def test_hyperparameters_come_back_in_their_own_types(text, parameter, value) -> None:
    found = typed_values({"x": text}, {"x": parameter})
    assert found == {"x": value} and type(found["x"]) is type(value)


def test_hyperparameters_that_don_t_belong_to_the_space_are_refused() -> None:
    with pytest.raises(BreedclfError, match="doesn't report x of a trial"):
        typed_values({}, {"x": Categorical(1, 2)})
    with pytest.raises(BreedclfError, match="tried x='3', which isn't one of 1, 2"):
        typed_values({"x": "3"}, {"x": Categorical(1, 2)})


def test_confirmation_is_refused_with_the_remedy_before_anything_starts(data, tmp_path) -> None:
    backend = NativeBackend(tmp_path, losses)
    with pytest.raises(ConfigError, match=r"confirm_seeds=3: .* can't repeat trials: set packed=True \(--packed\)"):
        TuningJob(TrainingConfig(data=data), SPACE, strategy="grid", backend=backend, confirm_seeds=3)
    assert backend.creations == 0 and not list(tmp_path.rglob("study.json"))


def _interrupted(_search: object) -> None:
    raise KeyboardInterrupt


def _request(data: Path) -> SearchRequest:
    return SearchRequest(name="study", config=TrainingConfig(data=data), space={"epochs": Categorical(2, 3)})


def _told(*trials: tuple[str, float, float], best: str | None = None) -> NativeDescription:
    made = tuple(NativeTrial(name, "Completed", {"epochs": "2"}, created, value) for name, created, value in trials)
    return NativeDescription("study", "InProgress", 0.0, trials=made, best=best)
