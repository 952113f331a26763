"""Own loss, sampler and metrics in the loop: the same bits as the built-in ones, resuming, and what is refused."""

from __future__ import annotations

import logging
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from breedclf import TrainingConfig
from breedclf.errors import ConfigError, TrainingError
from breedclf.features.extraction import StoredFeatures
from breedclf.models.head import new_head
from breedclf.training.checkpoints.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.checkpoints.policy import CheckpointPolicy, check_same_inputs
from breedclf.training.custom.loss import OwnLoss, own_loss
from breedclf.training.custom.metrics import OwnMetrics, own_metrics
from breedclf.training.custom.sampler import OwnSampler, Sampler, Shuffle, own_sampler
from breedclf.training.distributed import DistributedContext
from breedclf.training.interruption import TrainingInterrupted
from breedclf.training.loop import Callbacks, Trained, train
from breedclf.training.losses import BatchLoss, Loss
from breedclf.training.records import EpochRecord, StepRecord
from breedclf.training.task import TrainingTask
from breedclf.training.valid_predictions import ValidPredictions
from tests import own_code

CONFIG = TrainingConfig(data="x", weights="none", batch_size=8, learning_rate=0.05, epochs=3)


def made(found: Callable[..., object], what: str = "loss x:y") -> OwnLoss:
    loss = own_loss(found, what)
    loss.check(3)
    return loss


def task(
    loss: BatchLoss | None = None, sampler: Sampler | None = None, **metrics: Callable[..., float]
) -> TrainingTask:
    def source(draw: int) -> StoredFeatures:
        targets = torch.arange(30) % 3
        values = torch.randn(30, 12, generator=torch.Generator().manual_seed(draw))
        return StoredFeatures(values + F.one_hot(targets, 12), targets)

    return TrainingTask(
        new_head(12, 3, CONFIG),
        lambda _epoch: source(0),
        source(1),
        loss or Loss(),
        sampler or Shuffle(),
        OwnMetrics(metrics),
        labels=("a", "b", "c"),
    )


def weights_of(trained: Trained) -> bytes:
    return b"".join(trained.state[name].numpy().tobytes() for name in sorted(trained.state))


def test_own_code_that_does_the_same_gives_the_same_bits() -> None:
    plain = train(task(), CONFIG)
    same = train(task(made(own_code.cross_entropy), OwnSampler(own_code.shuffled, "sampler")), CONFIG)
    assert weights_of(same) == weights_of(plain)
    assert [record.train_loss for record in same.history] == [record.train_loss for record in plain.history]


def test_another_loss_and_another_sampler_give_another_model() -> None:
    outcomes = {
        weights_of(train(each, CONFIG))
        for each in (task(), task(made(own_code.Focal)), task(made(own_code.milder)), task(sampler=balanced()))
    }
    assert len(outcomes) == 4


def balanced() -> OwnSampler:
    return own_sampler(own_code.balanced, "sampler x:balanced")


def test_parts_of_a_batch_add_up_to_the_mean_of_an_own_loss() -> None:
    loss = made(own_code.Focal)
    scores, targets = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3
    parts = [loss.part(scores[s], targets[s], targets) for s in (slice(0, 4), slice(4, 8), slice(8, 10))]
    assert torch.allclose(sum(parts, torch.zeros(())), loss.mean(scores, targets), atol=1e-6)
    assert loss.part(scores[:1], targets[:0], targets) == 0


def test_the_buffers_of_a_loss_are_moved_to_the_device() -> None:
    loss = made(own_code.Focal).on(torch.device("meta"))
    assert next(loss.function.buffers()).device.type == "meta"  # type: ignore[attr-defined]
    function = made(own_code.cross_entropy)
    assert function.on(torch.device("meta")) is function


class NeedsGamma(nn.Module):
    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma


class WithWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores, targets, weight=self.weight)


def raises(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    raise KeyError("gamma" if len(scores) == len(targets) else "")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (NeedsGamma, "is a class that needs arguments; name a function without arguments that makes the loss"),
        (WithWeights, r"has 1 parameter\(s\) that would not be trained"),
        (raises, r"loss x:y raised KeyError: 'gamma' \(test_own_code.py, line \d+\)"),
        (
            lambda s, t: F.cross_entropy(s, t, reduction="none"),
            r"a tensor of shape \[4\], not a scalar: return its mean",
        ),
        (lambda s, t: F.cross_entropy(s, t).item(), "returned float .*; a loss takes scores float32"),
        (lambda s, t: F.cross_entropy(s.detach(), t), "returned a tensor without a gradient"),
        (lambda s, t: torch.ones((), requires_grad=True) * len(s) * len(t), "doesn't depend on the scores"),
        (lambda s, t: F.cross_entropy(s, t) * float("nan"), "is nan on finite scores"),
        (lambda s, t: (s.sum() * 0).sqrt() + F.cross_entropy(s, t), "has a gradient that isn't finite"),
        (lambda: 3, "made int 3, which can't be called"),
        (lambda s: s.mean(), "can't be called with two arguments"),
        (nn.NLLLoss, None),
        (nn.CrossEntropyLoss(), None),
        (F.cross_entropy, None),
    ],
)
def test_a_loss_is_checked_on_a_small_batch(found: Callable[..., object], words: str | None) -> None:
    if words is None:
        assert made(found).mean(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)).shape == ()
    else:
        with pytest.raises(ConfigError, match=words):
            made(found)


def test_a_loss_that_fails_later_is_named() -> None:
    def late(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(scores) == 8:
            raise RuntimeError("a full batch")
        return F.cross_entropy(scores, targets)

    def vector(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores, targets, reduction="none" if len(scores) == 8 else "mean")

    with pytest.raises(TrainingError, match=r"loss x:y raised RuntimeError: a full batch \(test_own_code.py, line"):
        train(task(made(late)), CONFIG)
    with pytest.raises(TrainingError, match=r"loss x:y returned a tensor of shape \[8\]"):
        train(task(made(vector)), CONFIG)


def test_code_that_uses_the_global_random_state_is_warned_of_and_leaves_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def noisy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)
        np.random.seed(7)
        random.seed(7)
        return F.cross_entropy(scores, targets)

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index, union-attr]
    with caplog.at_level(logging.WARNING, "breedclf"):
        made(noisy)
    assert "loss x:y uses the global random state of torch and NumPy and Python" in caplog.text
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index, union-attr]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    caplog.clear()
    made(own_code.Focal)
    assert not caplog.text


# ---- samplers


def test_epochs_may_have_any_length() -> None:
    steps: list[StepRecord] = []
    trained = train(task(sampler=balanced()), CONFIG, callbacks=Callbacks([steps.append]))
    assert [sum(step.images for step in steps if step.epoch == epoch) for epoch in (1, 2, 3)] == [31, 32, 33]
    assert len(trained.history) == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (torch.arange(30) + 1, r"epoch 1: it returned the row 30 \(1 of 30 rows are out of range\); there are 30"),
        (torch.tensor([-1]), "the row -1"),
        (torch.tensor([], dtype=torch.int64), "returned no rows"),
        (torch.rand(4), r"a tensor \[4\] of float32; a sampler takes targets int64 \[N\]"),
        (torch.ones(30, dtype=torch.bool), r"a tensor \[30\] of bool"),
        (torch.zeros(2, 2, dtype=torch.int64), r"a tensor \[2, 2\] of int64"),
        ([1, 2], r"returned list \[1, 2\]"),
    ],
    ids=["beyond", "negative", "empty", "float", "mask", "matrix", "list"],
)
def test_rows_that_are_none_are_refused(rows: object, words: str) -> None:
    sampler = own_sampler(lambda _targets, _epoch, _generator: rows, "sampler x:y")
    with pytest.raises(TrainingError, match=words):
        train(task(sampler=sampler), CONFIG)
    with pytest.raises(TrainingError, match=words):
        sampler.check([10, 10, 10])


def test_a_sampler_with_other_arguments_is_refused() -> None:
    with pytest.raises(ConfigError, match="sampler x:y can't be called with three arguments"):
        own_sampler(own_code.accuracy, "sampler x:y")


class _Stop:
    """Asks the run to stop after some steps, as a signal does."""

    def __init__(self, at: StepRecord) -> None:
        self.at = at

    def __call__(self, step: StepRecord) -> None:
        if (step.epoch, step.step) == (self.at.epoch, self.at.step):
            os.kill(os.getpid(), signal.SIGTERM)


def interrupted(folder: CheckpointFolder, sampler: Sampler) -> Checkpoint:
    stop = _Stop(StepRecord(2, 2, 8))
    with pytest.raises(TrainingInterrupted):
        train(task(sampler=sampler), CONFIG, callbacks=Callbacks([stop]), checkpoints=CheckpointPolicy(folder))
    found = folder.load()
    assert found is not None
    assert (found.epochs, found.step) == (1, 2)
    return found


def test_a_run_resumed_within_an_epoch_draws_the_same_rows(tmp_path: Path) -> None:
    whole = train(task(sampler=balanced()), CONFIG)
    start = interrupted(CheckpointFolder(tmp_path), balanced())
    resumed = train(task(sampler=balanced()), CONFIG, checkpoints=CheckpointPolicy(None, start))
    assert weights_of(resumed) == weights_of(whole)
    assert "rows_mark" not in interrupted(CheckpointFolder(tmp_path / "plain"), Shuffle()).about


def test_rows_that_differ_after_an_interruption_are_refused(tmp_path: Path) -> None:
    start = interrupted(CheckpointFolder(tmp_path), balanced())
    shorter = OwnSampler(lambda targets, epoch, generator: own_code.balanced(targets, epoch, generator)[:-1], "sampler")
    with pytest.raises(TrainingError, match="the sampler drew other rows for epoch 2 than before the interruption"):
        train(task(sampler=shorter), CONFIG, checkpoints=CheckpointPolicy(None, start))


def test_processes_that_draw_different_rows_are_refused() -> None:
    class Second(DistributedContext):
        def from_first(self, value: object) -> object:  # type: ignore[override]
            del value
            return "the first one's"

    with pytest.raises(TrainingError, match="the sampler gave another result in process 1 than in the first"):
        Second(rank=1, count=2).same_everywhere("mine", "sampler")
    assert DistributedContext().same_everywhere("mine", "sampler") == "mine"


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ({"loss": "a"}, {"loss": "a"}, None),
        ({"loss": "a", "sampler": "b"}, {"loss": "c", "sampler": "d"}, "the code of your loss and sampler has changed"),
        ({}, {"loss": "a"}, "the code of your loss has changed since the checkpoint was made; restore it, or restart"),
        ({}, {}, None),
    ],
)
def test_changed_code_is_refused_by_resume(before: dict[str, str], now: dict[str, str], words: str | None) -> None:
    same = {"data_fingerprint": "d", "weights_fingerprint": "w"}
    start = Checkpoint(1, 0, {}, {**same, **({"own_code": before} if before else {})})
    if words is None:
        check_same_inputs(start, {**same, "own_code": now})
    else:
        with pytest.raises(ConfigError, match=words):
            check_same_inputs(start, {**same, "own_code": now})


# ---- metrics


def values(**functions: Callable[..., object]) -> dict[str, float]:
    predictions = ValidPredictions(("a", "b"), torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    return own_metrics(functions).values(predictions, 1)


def test_metrics_are_in_the_records_and_only_if_there_are_any() -> None:
    with_metrics = train(task(accuracy=own_code.accuracy, missing=own_code.missing_recall), CONFIG).history
    assert [record.metrics["accuracy"] for record in with_metrics] == [
        pytest.approx(record.valid_accuracy) for record in with_metrics
    ]
    told = with_metrics[0].to_dict()
    assert told["metrics"] == {"accuracy": with_metrics[0].valid_accuracy, "missing": None}
    again = EpochRecord.from_dict(told)
    assert again.metrics["accuracy"] == with_metrics[0].metrics["accuracy"]
    assert again.metrics["missing"] != again.metrics["missing"], "it is NaN"
    plain = train(task(), CONFIG).history[0]
    assert "metrics" not in plain.to_dict()
    assert EpochRecord.from_dict(plain.to_dict()) == plain
    assert hash(plain)


def test_numbers_of_all_kinds_are_accepted() -> None:
    found = values(a=lambda _p, _t: 1, b=lambda _p, _t: np.float32(0.5), c=lambda _p, _t: torch.tensor([0.25]))
    assert found == {"a": 1.0, "b": 0.5, "c": 0.25}
    assert all(type(each) is float for each in found.values())


def test_a_metric_can_t_change_what_others_get() -> None:
    def destructive(probabilities: torch.Tensor, targets: torch.Tensor) -> float:
        probabilities.zero_()
        return float(targets.zero_().sum())

    assert values(first=destructive, accuracy=own_code.accuracy)["accuracy"] == 0.5


def test_a_metric_without_a_value_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "breedclf"):
        values(recall=own_code.missing_recall)
    assert "metric recall is nan in epoch 1; it is recorded without a value" in caplog.text


@pytest.mark.parametrize(
    ("name", "function", "error", "words"),
    [
        ("x", lambda _p, _t: 1 / 0, TrainingError, r"metric x raised ZeroDivisionError: .* \(test_own_code.py, line"),
        ("x", lambda _p, _t: "0.5", TrainingError, "metric x returned str '0.5'; a metric takes probabilities"),
        ("x", lambda _p, _t: None, TrainingError, "metric x returned NoneType None"),
        ("x", lambda _p, _t: True, TrainingError, "metric x returned bool True"),
        ("x", lambda p, _t: p, TrainingError, "metric x returned Tensor tensor"),
        ("x", lambda _p: 1.0, ConfigError, "metric x can't be called with two arguments as a function"),
        ("x", 3, ConfigError, "metric x is int 3, which can't be called"),
        ("valid_loss", own_code.accuracy, ConfigError, "'valid_loss' is taken by a built-in one; choose another"),
        ("Top 2", own_code.accuracy, ConfigError, "'Top 2' must be in lower_snake_case"),
    ],
    ids=["raises", "text", "nothing", "bool", "tensor", "signature", "number", "taken", "name"],
)
def test_a_metric_that_is_none_is_named(name: str, function: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        values(**{name: function})  # type: ignore[arg-type]


def test_the_epoch_of_a_metric_that_fails_is_saved(tmp_path: Path) -> None:
    calls = []

    def fails_later(probabilities: torch.Tensor, targets: torch.Tensor) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("only one class")
        return own_code.accuracy(probabilities, targets)

    folder = CheckpointFolder(tmp_path)
    with pytest.raises(TrainingError, match="metric x raised ValueError: only one class"):
        train(task(x=fails_later), CONFIG, checkpoints=CheckpointPolicy(folder))
    start = folder.load()
    assert start is not None
    assert start.epochs == 2, "nothing is lost"
    resumed = train(task(x=own_code.accuracy), CONFIG, checkpoints=CheckpointPolicy(None, start))
    assert ["x" in record.metrics for record in resumed.history] == [True, False, True]
    assert weights_of(resumed) == weights_of(train(task(), CONFIG))
