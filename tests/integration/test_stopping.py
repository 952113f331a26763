"""A run that is asked to stop ends after its step, keeps its best model, and can be continued."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.errors import TrainingStoppedError
from breedclf.features.progress import FeatureProgress
from breedclf.training.fit import fit
from breedclf.training.hooks import EpochRecord, StepRecord, TrainingHook, TrainingPlan
from breedclf.training.results import best_model
from breedclf.training.results.result import FitResult
from tests.integration.conftest import QUICK, write_patterns

SETTINGS: dict[str, Any] = {**QUICK, "profile": "off", "epochs": 4, "batch_size": 2, "deterministic": True}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("stopping") / "pictures", counts={"train": 4, "valid": 3})


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """The run that isn't stopped: 4 epochs of 4 steps."""
    return Trainer(TrainingConfig(data=pictures, output=tmp_path_factory.mktemp("whole"), **SETTINGS)).fit()


def new_trainer(pictures: Path, output: Path, **settings: Any) -> Trainer:
    return Trainer(TrainingConfig(data=pictures, output=output, **{**SETTINGS, **settings}))


class StopsAt(TrainingHook):
    """Asks for the end at one step, through the plan or by a given function; records the steps."""

    def __init__(self, epoch: int, step: int, ask: Callable[[], None] | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self._at, self._ask = (epoch, step), ask

    def on_start(self, plan: TrainingPlan) -> None:
        self._ask = self._ask or plan.request_stop

    def on_step(self, step: StepRecord) -> None:
        assert self._ask is not None
        self.steps.append((step.epoch, step.step))
        if self.steps[-1] == self._at:
            self._ask()
            self._ask()


def same_weights(one: FitResult, two: FitResult) -> bool:
    first, second = (load_file(result.artifact / "model.safetensors") for result in (one, two))
    return all(first[name].equal(second[name]) for name in first)


def test_it_ends_after_the_step_with_the_best_of_the_whole_epochs(
    pictures: Path, tmp_path: Path, whole: FitResult
) -> None:
    hook = StopsAt(3, 2)
    result = new_trainer(pictures, tmp_path / "out").fit(hooks=[hook])
    assert hook.steps[-1] == (3, 2), "not one step more"
    assert result.stopped
    assert result.to_dict()["stopped"] is True
    assert [record.epoch for record in result.history] == [1, 2]
    losses = [record.valid_loss for record in whole.history]
    assert [record.valid_loss for record in result.history] == losses[:2]
    assert result.classifier.predict(next(pictures.glob("valid/*/*.png"))).best is not None
    assert "stopped" not in whole.to_dict()
    assert not whole.stopped


@pytest.mark.parametrize("at", [(1, 2), (3, 2), (2, 4)], ids=["first-epoch", "within", "last-step-of-an-epoch"])
def test_a_stopped_run_continues_where_it_ended(
    pictures: Path, tmp_path: Path, whole: FitResult, at: tuple[int, int]
) -> None:
    stopped = new_trainer(pictures, tmp_path / "out").fit(hooks=[StopsAt(*at)])
    rest = StopsAt(99, 1)
    result = new_trainer(pictures, tmp_path / "out", resume=True).fit(hooks=[rest])
    assert stopped.stopped
    assert rest.steps[0] == ((at[0], at[1] + 1) if at[1] < 4 else (at[0] + 1, 1))
    assert same_weights(result, whole)
    assert [record.valid_loss for record in result.history] == [record.valid_loss for record in whole.history]


def test_within_the_first_epoch_its_part_is_validated_and_counts(pictures: Path, tmp_path: Path) -> None:
    seen: list[EpochRecord] = []
    hook = StopsAt(1, 3)
    hook.on_epoch = seen.append  # type: ignore[method-assign]
    result = new_trainer(pictures, tmp_path / "out").fit(hooks=[hook])
    (record,) = result.history
    assert seen == [record]
    assert record.is_partial
    assert record.to_dict()["is_partial"] is True
    assert EpochRecord.from_dict(record.to_dict()) == record
    assert result.artifact.is_dir()


def test_in_the_last_epoch_after_its_last_step_the_run_is_complete(pictures: Path, tmp_path: Path) -> None:
    result = new_trainer(pictures, tmp_path / "out").fit(hooks=[StopsAt(4, 4)])
    assert len(result.history) == 4
    assert not result.stopped


class WaitsAt(TrainingHook):
    """Waits in a step until another thread has asked."""

    def __init__(self) -> None:
        self.reached, self.asked = threading.Event(), threading.Event()

    def on_step(self, step: StepRecord) -> None:
        if (step.epoch, step.step) == (2, 1):
            self.reached.set()
            assert self.asked.wait(30)


@pytest.mark.parametrize("fits_in_a_thread", [False, True], ids=["fit-in-main", "fit-in-a-thread"])
def test_any_thread_may_ask(pictures: Path, tmp_path: Path, fits_in_a_thread: bool) -> None:
    trainer, hook, results = new_trainer(pictures, tmp_path / "out"), WaitsAt(), list[FitResult]()

    def ask() -> None:
        assert hook.reached.wait(60)
        trainer.request_stop()
        hook.asked.set()

    def fit() -> None:
        results.append(trainer.fit(hooks=[hook]))

    other, here = (fit, ask) if fits_in_a_thread else (ask, fit)
    thread = threading.Thread(target=other)
    thread.start()
    here()
    thread.join(60)
    assert [len(result.history) for result in results] == [1]


def test_a_request_before_the_fit_counts_for_the_next_one_only(pictures: Path, tmp_path: Path) -> None:
    trainer = new_trainer(pictures, tmp_path / "out")
    trainer.request_stop()
    with pytest.raises(TrainingStoppedError, match="stopped before its first step, so there is no model"):
        trainer.fit()
    assert not (tmp_path / "out/model").exists()
    assert len(trainer.fit().history) == 4
    assert pickle.loads(pickle.dumps(trainer)).config == trainer.config


@pytest.mark.parametrize("feature_cache", [True, False], ids=["cached", "streamed"])
def test_it_ends_within_the_features_after_the_chunk(pictures: Path, tmp_path: Path, feature_cache: bool) -> None:
    class StopsInFeatures(TrainingHook):
        def __init__(self) -> None:
            self.seen: list[FeatureProgress] = []
            self.errors: list[BaseException] = []

        def on_start(self, plan: TrainingPlan) -> None:
            self._ask = plan.request_stop

        def on_features(self, progress: FeatureProgress) -> None:
            self.seen.append(progress)
            self._ask()

        def on_failure(self, error: BaseException) -> None:
            self.errors.append(error)

    hook = StopsInFeatures()
    settings = {"chunk_size": 2, "feature_cache": feature_cache, "cache_dir": tmp_path / "cache"}
    with pytest.raises(TrainingStoppedError):
        new_trainer(pictures, tmp_path / "out", **settings).fit(hooks=[hook])
    assert hook.seen == [FeatureProgress("train", 0, 2, 8)]
    assert isinstance(hook.errors[0], TrainingStoppedError)


def test_the_best_model_so_far_is_passed_on_in_case_the_run_is_killed(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_model, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(best_model, "WRITING_SHARE", 1e9)
    passed_on: list[int] = []

    def hand_over(result: FitResult) -> None:
        passed_on.append(result.best_epoch)
        (tmp_path / "handed").mkdir(exist_ok=True)
        for file in result.artifact.iterdir():
            file.replace(tmp_path / "handed" / file.name)

    class Fails(TrainingHook):
        def on_epoch(self, epoch: EpochRecord) -> None:
            if epoch.epoch == 3:
                raise MemoryError

    with pytest.raises(MemoryError):
        fit(new_trainer(pictures, tmp_path / "out").config, hooks=[Fails()], on_best=hand_over)
    assert passed_on[0] == 1
    assert passed_on == sorted(set(passed_on)), "each model is written once"
    image = next(pictures.glob("valid/*/*.png"))
    assert Classifier(tmp_path / "handed").predict(image).best is not None
