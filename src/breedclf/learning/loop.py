"""Training of the last layer: epochs over features, the best epoch kept, nothing said but through the callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.errors import TrainingError
from breedclf.learning.features import FeatureSource
from breedclf.learning.hooks import EpochRecord, StepRecord
from breedclf.learning.model import fold_scaling
from breedclf.learning.timing import NO_TIMER, StepTimer

_CONSTANT_FEATURE = 1e-6
_MOMENTS_BATCH = 1024


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation [D] of the training features; a feature that never varies keeps its scale."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(cls, source: FeatureSource, batch_size: int) -> Scaling:
        """Measure a source in one pass, in float64."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for features, _ in source.batches(torch.arange(len(source.targets)), batch_size):
            wide = features.double()
            total, squares = total.to(wide.device) + wide.sum(0), squares.to(wide.device) + wide.square().sum(0)
            count += len(features)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        constant = deviation < _CONSTANT_FEATURE * (1 + mean.abs())
        return cls(mean.float(), torch.where(constant, 1.0, deviation).float())

    @classmethod
    def none(cls, features: int, device: torch.device) -> Scaling:
        return cls(torch.zeros(features, device=device), torch.ones(features, device=device))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class TrainedHead:
    """The last layer of the best epoch, on plain features, with how training went."""

    layer: nn.Linear
    history: list[EpochRecord]
    best_epoch: int


@dataclass(frozen=True)
class Callbacks:
    """Whom the loop tells; both lists may be empty."""

    on_step: Sequence[Callable[[StepRecord], None]] = ()
    on_epoch: Sequence[Callable[[EpochRecord], None]] = ()
    timer: StepTimer = NO_TIMER


def train_head(
    views: Sequence[FeatureSource],
    valid: FeatureSource,
    config: TrainingConfig,
    *,
    classes: int,
    features: int,
    device: torch.device,
    callbacks: Callbacks,
) -> TrainedHead:
    """Train a layer of `classes` outputs on features of length `features`; epoch e uses view e mod K.

    A standardised head starts at zero: its features are already on one scale, so that no random start is needed and
    two or three epochs aren't spent on forgetting one. A plain linear head starts as PyTorch's does.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    scaling = Scaling.none(features, device)
    if config.head == "standardised":
        scaling = Scaling.of(views[0], _MOMENTS_BATCH)
    head = _new_head(features, classes, config).to(device)
    optimizer = torch.optim.SGD(
        head.parameters(), config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    callbacks.timer.watch(head, optimizer)
    order = torch.Generator().manual_seed(config.seed)
    history: list[EpochRecord] = []
    best, best_state = None, head.state_dict()
    for epoch in range(1, config.epochs + 1):
        source = views[(epoch - 1) % len(views)]
        callbacks.timer.phase("train", epoch)
        started = time.perf_counter()
        rows = torch.randperm(len(source.targets), generator=order)
        train_loss = _train_epoch(head, optimizer, scaling, source.batches(rows, config.batch_size), epoch, callbacks)
        elapsed = time.perf_counter() - started
        callbacks.timer.phase("valid", epoch)
        valid_loss, valid_accuracy = _validate(head, scaling, valid, config.batch_size, callbacks.timer)
        record = EpochRecord(epoch, train_loss, valid_loss, valid_accuracy, len(rows) / elapsed)
        history.append(record)
        if best is None or _objective(record, config) < _objective(best, config):
            best, best_state = record, {name: value.detach().clone() for name, value in head.state_dict().items()}
        for tell in callbacks.on_epoch:
            tell(record)
    assert best is not None
    head.load_state_dict(best_state)
    return TrainedHead(fold_scaling(head, scaling.mean, scaling.deviation), history, best.epoch)


def _new_head(features: int, classes: int, config: TrainingConfig) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = nn.Linear(features, classes)
    if config.head == "standardised":
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return head


def _train_epoch(
    head: nn.Linear,
    optimizer: torch.optim.Optimizer,
    scaling: Scaling,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    epoch: int,
    callbacks: Callbacks,
) -> float:
    """One pass; returns the mean loss over pictures."""
    losses, sizes = [], []
    timer = callbacks.timer
    for step, (features, targets) in enumerate(batches, 1):
        timer.lap("data_wait")
        loss = F.cross_entropy(head(scaling(features)), targets)
        timer.loss(loss)
        timer.lap("forward")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        timer.lap("backward")
        optimizer.step()
        timer.lap("optimizer")
        losses.append(loss.detach())
        sizes.append(len(targets))
        for tell in callbacks.on_step:
            tell(StepRecord(epoch, step, len(targets)))
        timer.step(len(targets))
    # Looked at once an epoch: asking a GPU after each step would make it wait.
    per_step = torch.stack(losses).double().cpu()
    timer.losses(per_step.tolist())
    broken = (~per_step.isfinite()).nonzero()
    if len(broken):
        at = int(broken[0])
        raise TrainingError(
            f"the training loss became {per_step[at].item()} in epoch {epoch}, step {at + 1}; "
            f"lower learning_rate (it is {optimizer.param_groups[0]['lr']:g}) or check the weights and pictures"
        )
    return float((per_step * torch.tensor(sizes)).sum() / sum(sizes))


@torch.no_grad()
def _validate(
    head: nn.Linear, scaling: Scaling, valid: FeatureSource, batch_size: int, timer: StepTimer
) -> tuple[float, float]:
    """Mean loss and accuracy."""
    loss = right = 0.0
    rows = torch.arange(len(valid.targets))
    for features, targets in valid.batches(rows, batch_size):
        timer.lap("data_wait")
        scores = head(scaling(features))
        loss += F.cross_entropy(scores, targets, reduction="sum").item()
        right += (scores.argmax(1) == targets).sum().item()
        timer.lap("forward")
        timer.step(len(targets))
    return loss / len(rows), right / len(rows)


def _objective(record: EpochRecord, config: TrainingConfig) -> float:
    """Smaller is better."""
    return record.valid_loss if config.objective == "valid_loss" else -record.valid_accuracy
