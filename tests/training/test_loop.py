"""The head: standardising and folding, which epoch wins, and a loss that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.errors import TrainingError, WeightsError
from breedclf.features.extraction import StoredFeatures
from breedclf.models.head import MOMENTS_BATCH, Scaling, new_head
from breedclf.models.network import fold_scaling
from breedclf.training.hooks import EpochRecord, StepRecord
from breedclf.training.loop import Callbacks, train
from breedclf.training.task import TrainingTask

FEATURES, CLASSES = 12, 3


def source(count: int = 60, seed: int = 0) -> StoredFeatures:
    """Classes that differ in the mean of badly scaled features; the last feature never varies."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % CLASSES
    values = torch.randn(count, FEATURES, generator=draw) * torch.logspace(-2, 2, FEATURES) + 5.0
    values[:, :3] += torch.nn.functional.one_hot(targets, CLASSES) * 0.05
    values[:, -1] = 7.0
    return StoredFeatures(values, targets)


@dataclass(frozen=True)
class HeadRun:
    """The head of the best epoch, with its scaling folded in, and how the training went."""

    layer: nn.Linear
    history: list[EpochRecord]
    best_epoch: int


def train_on_features(
    config: TrainingConfig | None = None, views: Sequence[StoredFeatures] = (), **callbacks: object
) -> HeadRun:
    """Train a head as `fit` does: scaled by the first view, epoch e on view e mod K."""
    config = config or TrainingConfig(data="x", learning_rate=0.05, batch_size=8)
    views = views or [source()]
    head = new_head(FEATURES, CLASSES, config)
    if config.head != "linear":
        head.use(Scaling.of(views[0], MOMENTS_BATCH))
    task = TrainingTask(head, lambda epoch: views[(epoch - 1) % len(views)], source(seed=1))
    trained = train(task, config, callbacks=Callbacks(**callbacks))  # type: ignore[arg-type]
    head.load_state_dict(trained.state)
    return HeadRun(head.folded(), trained.history, trained.best_epoch)


def test_scaling_is_mean_and_deviation_and_leaves_constant_features_alone() -> None:
    values = source().values
    scaling = Scaling.of(source(), batch_size=7)
    assert torch.allclose(scaling.mean, values.mean(0), atol=1e-5)
    assert torch.allclose(scaling.deviation[:-1], values.std(0, correction=0)[:-1], rtol=1e-4)
    assert scaling.deviation[-1] == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    broken = source()
    broken.values[7, 1] = value
    with pytest.raises(WeightsError, match=rf"1 of {FEATURES} features of the training images are NaN or infinite"):
        Scaling.of(broken, batch_size=7)


def test_the_folded_layer_does_on_plain_features_what_the_head_did_on_scaled_ones() -> None:
    head = torch.nn.Linear(FEATURES, CLASSES)
    scaling, values = Scaling.of(source(), batch_size=64), source(seed=2).values
    folded = fold_scaling(head.weight, head.bias, scaling.mean, scaling.deviation)
    assert torch.allclose(folded(values), head(scaling(values)), rtol=1e-3, atol=1e-3)


def test_same_seed_same_head_bit_for_bit() -> None:
    first, again = train_on_features(), train_on_features()
    other = train_on_features(TrainingConfig(data="x", learning_rate=0.05, batch_size=8, seed=1))
    assert torch.equal(first.layer.weight, again.layer.weight)
    assert first.history[0].train_loss == again.history[0].train_loss
    assert not torch.equal(first.layer.weight, other.layer.weight)


def test_standardising_learns_where_a_plain_layer_does_not() -> None:
    standard = train_on_features().history[-1].valid_accuracy
    plain = (
        train_on_features(TrainingConfig(data="x", learning_rate=0.05, batch_size=8, head="linear"))
        .history[-1]
        .valid_accuracy
    )
    assert standard > 0.8
    assert plain < 0.7


@pytest.mark.parametrize("objective", ["valid_loss", "valid_accuracy"])
def test_the_artifact_is_that_of_the_best_epoch_and_the_earlier_of_equals(objective: str) -> None:
    config = TrainingConfig(data="x", epochs=12, learning_rate=0.5, batch_size=8, objective=objective)
    trained = train_on_features(config)
    best = trained.history[trained.best_epoch - 1]
    values = {
        "valid_loss": [record.valid_loss for record in trained.history],
        "valid_accuracy": [-record.valid_accuracy for record in trained.history],
    }[objective]
    assert trained.best_epoch == values.index(min(values)) + 1
    valid = source(seed=1)
    loss = torch.nn.functional.cross_entropy(trained.layer(valid.values), valid.targets).item()
    assert loss == pytest.approx(best.valid_loss, rel=1e-3)


def test_epochs_go_through_the_views_in_turn() -> None:
    seen: list[int] = []

    class Watched(StoredFeatures):
        def batches(self, rows: torch.Tensor, batch_size: int):  # type: ignore[no-untyped-def]
            if len(rows) == 60 and batch_size == 8:
                seen.append(int(self.values[0, 0]))
            return super().batches(rows, batch_size)

    views = [Watched(torch.full((60, FEATURES), float(view)), source().targets) for view in range(2)]
    train_on_features(TrainingConfig(data="x", epochs=5, batch_size=8, learning_rate=0.01), views=views)
    assert seen == [0, 1, 0, 1, 0]


def test_callbacks_hear_of_every_step_and_epoch() -> None:
    steps: list[StepRecord] = []
    epochs: list[EpochRecord] = []
    train_on_features(
        TrainingConfig(data="x", epochs=2, batch_size=16), on_step=[steps.append], on_epoch=[epochs.append]
    )
    assert [(step.epoch, step.step, step.images) for step in steps[:4]] == [
        (1, 1, 16),
        (1, 2, 16),
        (1, 3, 16),
        (1, 4, 12),
    ]
    assert [record.epoch for record in epochs] == [1, 2]


def test_a_loss_that_is_no_number_names_epoch_and_step() -> None:
    broken = source()
    broken.values[50] = float("nan")
    with pytest.raises(TrainingError, match=r"loss became nan in epoch 1, step \d; lower learning_rate \(it is 0.05\)"):
        train_on_features(TrainingConfig(data="x", learning_rate=0.05, batch_size=8, head="linear"), views=[broken])
