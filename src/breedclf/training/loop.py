"""The training loop: epochs of steps and validation; the best epoch is kept, and the state saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.errors import TrainingError
from breedclf.models.backbones.backbone import StateDict
from breedclf.runtime.cpu_threads import on_threads
from breedclf.runtime.timers import NO_TIMER, StepTimer
from breedclf.training.checkpoints.policy import NO_CHECKPOINTS, CheckpointPolicy
from breedclf.training.distributed import SINGLE_PROCESS, DistributedContext
from breedclf.training.interruption import StopRequest, nothing_trained
from breedclf.training.lr_schedule import LearningRateSchedule
from breedclf.training.records import EpochRecord, StepRecord
from breedclf.training.state import TrainingState
from breedclf.training.step import TrainingStep
from breedclf.training.task import TrainingTask
from breedclf.training.valid_predictions import ScoreCollector, ValidPredictions


@dataclass(frozen=True)
class Callbacks:
    """What the loop calls after each step and each epoch; predictions are collected only if `on_valid` has calls."""

    on_step: Sequence[Callable[[StepRecord], None]] = ()
    on_valid: Sequence[Callable[[EpochRecord, ValidPredictions], None]] = ()
    on_epoch: Sequence[Callable[[EpochRecord], None]] = ()
    timer: StepTimer = NO_TIMER


@dataclass(frozen=True)
class Validation:
    """Mean loss, accuracy from 0 to 1, and the predictions if they are collected (in the first process only)."""

    loss: float
    accuracy: float
    predictions: ValidPredictions | None = None


@dataclass(frozen=True)
class Trained:
    """The state dict of the best epoch's module, and the history; `best_epoch` counts from 1.

    `stopped`: the run ended on request, before its last epoch.
    """

    state: StateDict
    history: list[EpochRecord]
    best_epoch: int
    stopped: bool = False


def train(
    task: TrainingTask,
    config: TrainingConfig,
    *,
    callbacks: Callbacks = Callbacks(),
    distributed: DistributedContext = SINGLE_PROCESS,
    checkpoints: CheckpointPolicy = NO_CHECKPOINTS,
    stop: StopRequest | None = None,
    keep: Callable[[Trained], None] | None = None,
) -> Trained:
    """Train to the last epoch, until `patience` runs out or a stop is requested.

    The module keeps the weights of the last step. `keep` is called after each epoch but the last, in the first process,
    with the best so far.

    Raises:
        TrainingError: the loss is NaN or infinite.
        TrainingStoppedError: a stop was requested before the first step.
        TrainingInterrupted: SIGTERM or SIGINT was received, and the state is saved.
    """
    stop = stop or StopRequest()
    with stop.on_signals(checkpoints.is_on or stop.signals_keep_best):
        loop = _Loop(task, config, callbacks, distributed, checkpoints, stop)
        state = loop.state
        with on_threads(task.threads):
            while not loop.is_over:
                loop.epoch(len(state.history) + 1)
                if keep is not None and distributed.is_first and not loop.is_over:
                    keep(Trained(state.best_state, state.history, state.best_epoch))
    return Trained(state.best_state, state.history, state.best_epoch, loop.is_stopped)


class _Loop:
    """A run under way."""

    def __init__(
        self,
        task: TrainingTask,
        config: TrainingConfig,
        callbacks: Callbacks,
        distributed: DistributedContext,
        checkpoints: CheckpointPolicy,
        stop: StopRequest,
    ) -> None:
        self._task, self._config, self._distributed = task, config, distributed
        self._callbacks, self._timer = callbacks, callbacks.timer
        self._checkpoints, self._stop = checkpoints, stop
        self._is_alone = distributed.count == 1
        self.is_stopped = False
        self._hook_seconds = 0.0
        self._collects_predictions: bool = distributed.from_first(bool(callbacks.on_valid or task.metrics.functions))
        self.state = TrainingState(task, config, distributed, callbacks.timer)
        if checkpoints.start is not None:
            self.state.restore(checkpoints.start)
        self._schedule = LearningRateSchedule.of(config)
        self._step = TrainingStep(task.loss, config, self.state, distributed, callbacks.timer)

    @property
    def is_over(self) -> bool:
        done, patience = len(self.state.history), self._config.patience
        is_settled = patience is not None and done - self.state.best_epoch >= patience
        return self.is_stopped or done >= self._config.epochs or is_settled

    def epoch(self, number: int) -> None:
        """Train one epoch, or the rest of one, validate, and save."""
        state, batch_size = self.state, self._config.batch_size
        if not self._is_alone and not state.history:
            self._agree_to_stop(number)
        source = self._task.source(number)
        self._timer.phase("train", number)
        started = time.perf_counter()
        order = state.order.get_state()
        rows = self._task.sampler.rows(source.targets, number, state.order)
        state.check_rows(self._distributed.same_everywhere(self._task.sampler.mark(rows), "sampler"), number)
        before = len(state.losses) * batch_size
        self._hook_seconds = 0.0
        is_whole = self._train(source, rows, number)
        elapsed = time.perf_counter() - started - self._hook_seconds
        if not is_whole and not self._continues_stopped(number, order):
            return
        done = min(len(rows), len(state.losses) * batch_size)
        train_loss = self._mean_loss(done, number)
        self._timer.phase("valid", number)
        valid = self._validate(order)
        if valid is None:
            return
        speed = max(0, done - before) / elapsed
        metrics, failure = self._own_metrics(valid.predictions, number)
        record = EpochRecord(
            number, train_loss, valid.loss, valid.accuracy, speed, is_partial=not is_whole, metrics=metrics
        )
        state.end_epoch(record)
        try:
            self._report(record, valid)
            if failure is not None:
                raise failure
        finally:
            if is_whole:  # otherwise the state in the middle of the epoch is saved
                self._save(state.order.get_state())
        if not self.is_over:
            self._agree_to_stop(number)

    def _report(self, record: EpochRecord, valid: Validation) -> None:
        if valid.predictions is not None:
            for on_valid in self._callbacks.on_valid:
                on_valid(record, valid.predictions)
        for on_epoch in self._callbacks.on_epoch:
            on_epoch(record)

    def _train(self, source: FeatureSource, rows: torch.Tensor, epoch: int) -> bool:
        """The steps of an epoch that aren't done yet; False if a stop was requested before the last one."""
        state, distributed, batch_size = self.state, self._distributed, self._config.batch_size
        state.module.train()
        done = len(state.losses)
        left = rows[done * batch_size :]
        if not len(left):  # the run was interrupted during validation
            return True
        part_size = self._step.part_size
        batches = source.batches(distributed.shard(left, part_size), part_size // distributed.count)
        steps_per_epoch = -(-len(rows) // batch_size)
        for step, batch in enumerate(torch.split(left, batch_size), done + 1):
            if self._stop.is_made and self._is_alone:
                return False
            factor = self._schedule.factor((epoch - 1) * steps_per_epoch + step - 1, steps_per_epoch)
            for group in state.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            state.losses.append(self._step(batches, batch, source.targets, epoch, step))
            if self._callbacks.on_step:
                paused = time.perf_counter()
                for on_step in self._callbacks.on_step:
                    on_step(StepRecord(epoch, step, len(batch)))
                self._hook_seconds += time.perf_counter() - paused
            self._timer.step(len(batch))
        return True

    def _mean_loss(self, images: int, epoch: int) -> float:
        """Mean over images, read once per epoch: reading it after each step would make a GPU wait."""
        per_step = self._distributed.total(self.state.losses.values.double().cpu())
        self._timer.losses(per_step.tolist())
        broken = (~per_step.isfinite()).nonzero()
        if len(broken):
            at = int(broken[0])
            raise TrainingError(
                f"the training loss became {per_step[at].item()} in epoch {epoch}, step {at + 1}; "
                f"lower learning_rate (it is {self._config.learning_rate:g}) or check the weights and images"
            )
        sizes = torch.full((len(per_step),), self._config.batch_size)
        sizes[-1] = images - self._config.batch_size * (len(per_step) - 1)
        return float((per_step * sizes).sum() / images)

    @torch.no_grad()
    def _validate(self, order: torch.Tensor) -> Validation | None:
        """Evaluate all validation images; None if a signal ends the run before, with an earlier epoch's model."""
        state, valid, distributed = self.state, self._task.valid, self._distributed
        collector = ScoreCollector(len(self._task.labels)) if self._collects_predictions else None
        loss = correct = 0.0
        rows = torch.arange(len(valid.targets))
        state.module.eval()
        with state.average.in_place_of(state.module) if state.average is not None else nullcontext():
            for inputs, targets in valid.batches(rows[distributed.rank :: distributed.count], self._config.batch_size):
                self._timer.lap("data_wait")
                scores = state.module(inputs)
                loss += F.cross_entropy(scores, targets, reduction="sum").item()
                correct += (scores.argmax(1) == targets).sum().item()
                if collector is not None:
                    collector.add(scores)
                self._timer.lap("forward")
                self._timer.step(len(targets))
                is_signaled = self._stop.signal is not None and not self.is_stopped and self._is_alone
                if is_signaled and not self._continues_stopped(len(state.history) + 1, order):
                    return None
        if distributed.count > 1:
            loss, correct = distributed.total(torch.tensor([loss, correct], dtype=torch.float64)).tolist()
        predictions = None
        if collector is not None:
            predictions = collector.predictions(self._task.labels, valid.targets, self._task.valid_images, distributed)
        return Validation(loss / len(rows), correct / len(rows), predictions)

    def _own_metrics(
        self, predictions: ValidPredictions | None, epoch: int
    ) -> tuple[dict[str, float], TrainingError | None]:
        """The own metrics of an epoch; if one fails, none, and the error to raise once the epoch is saved."""
        try:
            return {} if predictions is None else self._task.metrics.values(predictions, epoch), None
        except TrainingError as error:
            return {}, error

    def _continues_stopped(self, epoch: int, order: torch.Tensor) -> bool:
        """Save in the middle of an epoch and stop; whether this epoch must give the model, since none is complete."""
        self._save(order)
        if self._stop.is_interruption:
            raise self._checkpoints.interrupted(epoch, self._config.epochs)
        self.is_stopped = True
        if not self.state.history and not self.state.losses:
            raise nothing_trained()
        return not self.state.history

    def _save(self, order: torch.Tensor) -> None:
        """Save everything that determines the rest of the run."""
        state = self.state
        if self._checkpoints.is_on and self._distributed.is_first:
            self._checkpoints.save(len(state.history), len(state.losses), state.tensors(order), state.about())

    def _agree_to_stop(self, epoch: int) -> None:
        """Stop between epochs if any process was asked to; all processes do the same."""
        stop = self._stop
        asked = self._distributed.total(torch.tensor([float(stop.is_made), float(stop.is_interruption)]))
        if asked[1] > 0:
            if self.state.history:
                raise self._checkpoints.interrupted(epoch, self._config.epochs)
            return  # the first epoch is trained before, as there is no state to save
        self.is_stopped = bool(asked[0] > 0)
        if self.is_stopped and not self.state.history:
            raise nothing_trained()
