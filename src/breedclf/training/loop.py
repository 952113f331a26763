"""The epochs of a training, whatever is trained: steps, validation, the best epoch kept, the state saved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.errors import TrainingError
from breedclf.models.network import StateDict
from breedclf.runtime.device import on_threads
from breedclf.runtime.timers import NO_TIMER, StepTimer
from breedclf.training.checkpoint import Checkpoint
from breedclf.training.distributed import SINGLE_PROCESS, Processes
from breedclf.training.ema import MovingAverage
from breedclf.training.interruption import StopRequest, stop_requests
from breedclf.training.losses import Blend, Loss
from breedclf.training.lr_schedule import rate_factor
from breedclf.training.optimizers import new_optimizer
from breedclf.training.records import EpochRecord, StepRecord
from breedclf.training.resume import NOT_SAVED, CheckpointPolicy


@dataclass(frozen=True)
class TrainingTask:
    """What is trained on what: a module from inputs to scores, the inputs of an epoch (from 1), those of validation.

    `threads` is how many of the CPU compute it; None for all.
    """

    module: nn.Module
    source: Callable[[int], FeatureSource]
    valid: FeatureSource
    loss: Loss = field(default_factory=Loss)
    fixed_statistics: bool = True
    threads: int | None = None


@dataclass(frozen=True)
class Callbacks:
    """Whom the loop tells; both lists may be empty."""

    on_step: Sequence[Callable[[StepRecord], None]] = ()
    on_epoch: Sequence[Callable[[EpochRecord], None]] = ()
    timer: StepTimer = NO_TIMER


@dataclass(frozen=True)
class Trained:
    """The state of the best epoch's module, with how training went."""

    state: StateDict
    history: list[EpochRecord]
    best_epoch: int


def train(
    lesson: TrainingTask,
    config: TrainingConfig,
    *,
    callbacks: Callbacks = Callbacks(),
    processes: Processes = SINGLE_PROCESS,
    saving: CheckpointPolicy = NOT_SAVED,
) -> Trained:
    """Train from where `saving` says to the last epoch, or until `patience` ends; the module is left as it was last.

    Raises:
        TrainingError: the loss is no longer a number.
        TrainingInterrupted: SIGTERM or SIGINT came, and the state is saved.
    """
    with stop_requests(saving.is_wanted) as stop, on_threads(lesson.threads):
        run = _Run(lesson, config, callbacks, processes, saving, stop)
        if saving.start is not None:
            run.restore(saving.start)
        while not run.is_over:
            run.epoch(len(run.history) + 1)
    return Trained(run.best_state, run.history, run.best_epoch)


def best_epoch_of(history: Sequence[EpochRecord], config: TrainingConfig) -> int:
    """The epoch with the best objective, counted from 1; the earlier of equals, 0 for no epochs."""
    if not history:
        return 0
    return min(history, key=lambda record: (_objective(record, config), record.epoch)).epoch


class _Run:
    """A training under way."""

    def __init__(
        self,
        lesson: TrainingTask,
        config: TrainingConfig,
        callbacks: Callbacks,
        processes: Processes,
        saving: CheckpointPolicy,
        stop: StopRequest,
    ) -> None:
        self._lesson, self._config, self._processes = lesson, config, processes
        self._callbacks, self._timer = callbacks, callbacks.timer
        self._saving, self._stop = saving, stop
        self._module = lesson.module
        self._shared = processes.together(lesson.module, fixed_statistics=lesson.fixed_statistics)
        self._optimizer = new_optimizer(self._module, config)
        self._average = MovingAverage(self._module, config.ema) if config.ema else None
        self._order = torch.Generator().manual_seed(config.seed)
        self._losses: list[torch.Tensor] = []  # of this epoch's steps so far
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_state: StateDict = {}
        self._timer.watch(self._module, self._optimizer)

    @property
    def is_over(self) -> bool:
        done, patience = len(self.history), self._config.patience
        return done >= self._config.epochs or (patience is not None and done - self.best_epoch >= patience)

    def epoch(self, number: int) -> None:
        """Train one epoch, or the rest of one, validate, and save."""
        source = self._lesson.source(number)
        self._timer.phase("train", number)
        started = time.perf_counter()
        order = self._order.get_state()
        rows = torch.randperm(len(source.targets), generator=self._order)
        first_step = len(self._losses)
        self._train(source, rows, number, order)
        elapsed = time.perf_counter() - started
        trained = len(rows) - min(len(rows), first_step * self._config.batch_size)
        train_loss = self._mean_loss(len(rows), number)
        self._timer.phase("valid", number)
        valid_loss, valid_accuracy = self._validate(order)
        record = EpochRecord(number, train_loss, valid_loss, valid_accuracy, trained / elapsed)
        self.history.append(record)
        self._losses = []
        if best_epoch_of(self.history, self._config) == number:
            self.best_epoch, self.best_state = number, _copied(self._kept_state())
        for tell in self._callbacks.on_epoch:
            tell(record)
        self._save(self._order.get_state())
        if self._asked_by_any() and not self.is_over:
            raise self._saving.interrupted(number, self._config.epochs)

    def restore(self, start: Checkpoint) -> None:
        """Be where the checkpoint was taken."""
        device = next(self._module.parameters()).device
        self._module.load_state_dict(start.part("module"))
        self.best_state = {name: tensor.to(device) for name, tensor in start.part("best").items()}
        self.best_epoch = start.about["best_epoch"]
        self.history = [EpochRecord.from_dict(record) for record in start.about["history"]]
        self._order.set_state(start.tensors["order"])
        self._losses = list(start.tensors["losses"].to(device))
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in start.part("optimizer").items():
            number, _, key = name.partition("/")
            slots.setdefault(int(number), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": slots, "param_groups": groups})
        if self._average is not None:
            self._average.steps = start.about["average_steps"]
            self._average.state = {name: tensor.to(device) for name, tensor in start.part("average").items()}

    def _train(self, source: FeatureSource, rows: torch.Tensor, epoch: int, order: torch.Tensor) -> None:
        """The steps of an epoch that aren't done yet."""
        config, processes = self._config, self._processes
        self._module.train()
        part_size = config.batch_size // config.accumulate
        done = len(self._losses)
        left = rows[done * config.batch_size :]
        if not len(left):  # it was interrupted while validating
            return
        batches = source.batches(processes.share(left, part_size), part_size // processes.count)
        steps_per_epoch = -(-len(rows) // config.batch_size)
        for step, whole in enumerate(torch.split(left, config.batch_size), done + 1):
            if self._stop.is_made and processes.count == 1:
                self._leave(epoch, order)
            factor = rate_factor(config, (epoch - 1) * steps_per_epoch + step - 1, steps_per_epoch)
            for group in self._optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            self._losses.append(self._step(batches, source.targets, whole, epoch, step))
            for tell in self._callbacks.on_step:
                tell(StepRecord(epoch, step, len(whole)))
            self._timer.step(len(whole))

    def _step(
        self,
        batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
        targets: torch.Tensor,
        whole: torch.Tensor,
        epoch: int,
        step: int,
    ) -> torch.Tensor:
        """One optimizer step; returns the batch's mean loss, or this process's part of it."""
        config, timer = self._config, self._timer
        parts = torch.split(whole, config.batch_size // config.accumulate)
        losses = []
        for number, part in enumerate(parts):
            inputs, wanted = next(batches)
            timer.lap("data_wait")
            loss = self._loss(inputs, wanted, part, targets[whole], (epoch, step, number))
            timer.lap("forward")
            if number == 0:
                self._optimizer.zero_grad()
            with self._no_exchange(last=number == len(parts) - 1):
                # Processes average their gradients, but each has its part of one mean.
                (loss * self._processes.count if self._processes.count > 1 else loss).backward()  # type: ignore[no-untyped-call]
            timer.lap("backward")
            losses.append(loss.detach())
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._module.parameters(), config.clip_norm)
        self._optimizer.step()
        if self._average is not None:
            self._average.follow(self._module)
        timer.lap("optimizer")
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        timer.loss(loss)
        return loss

    def _loss(
        self, inputs: torch.Tensor, targets: torch.Tensor, part: torch.Tensor, whole: torch.Tensor, at: tuple[int, ...]
    ) -> torch.Tensor:
        """What these inputs add to the batch's mean loss; `whole` is the targets of the batch."""
        loss, config = self._lesson.loss, self._config
        alone = self._processes.count == 1 and config.accumulate == 1
        targets = targets[: self._processes.owned(len(part))]

        def measured(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
            return loss.mean(scores, wanted) if alone else loss.part(scores, wanted, whole)

        if not config.mixup or len(targets) < 2:
            return measured(self._shared(inputs), targets)
        epoch, step, number = at
        place = step * config.accumulate + number
        blend = Blend.draw(config.mixup, len(targets), seed=config.seed, epoch=epoch, step=place)
        scores = self._shared(blend.inputs(inputs))
        return blend(measured(scores, targets), measured(scores, targets[blend.partner]))

    def _no_exchange(self, *, last: bool) -> Any:
        """Gradients are exchanged after a batch's last part only."""
        return nullcontext() if last or self._processes.count == 1 else self._shared.no_sync()  # type: ignore[operator]

    def _mean_loss(self, pictures: int, epoch: int) -> float:
        """Mean over pictures; looked at once an epoch, since asking a GPU after each step would make it wait."""
        per_step = self._processes.total(torch.stack(self._losses).double().cpu())
        self._timer.losses(per_step.tolist())
        broken = (~per_step.isfinite()).nonzero()
        if len(broken):
            at = int(broken[0])
            raise TrainingError(
                f"the training loss became {per_step[at].item()} in epoch {epoch}, step {at + 1}; "
                f"lower learning_rate (it is {self._config.learning_rate:g}) or check the weights and pictures"
            )
        sizes = torch.full((len(per_step),), self._config.batch_size)
        sizes[-1] = pictures - self._config.batch_size * (len(per_step) - 1)
        return float((per_step * sizes).sum() / pictures)

    @torch.no_grad()
    def _validate(self, order: torch.Tensor) -> tuple[float, float]:
        """Mean loss and accuracy over all validation pictures."""
        valid, processes = self._lesson.valid, self._processes
        loss = right = 0.0
        rows = torch.arange(len(valid.targets))
        self._module.eval()
        with self._average.in_place_of(self._module) if self._average is not None else nullcontext():
            for inputs, targets in valid.batches(rows[processes.rank :: processes.count], self._config.batch_size):
                self._timer.lap("data_wait")
                scores = self._module(inputs)
                loss += F.cross_entropy(scores, targets, reduction="sum").item()
                right += (scores.argmax(1) == targets).sum().item()
                self._timer.lap("forward")
                self._timer.step(len(targets))
                stopped = self._stop.is_made and processes.count == 1
                if stopped:
                    break
            else:
                stopped = False
        if stopped:
            self._leave(len(self.history) + 1, order)
        if processes.count > 1:
            loss, right = processes.total(torch.tensor([loss, right], dtype=torch.float64)).tolist()
        return loss / len(rows), right / len(rows)

    def _kept_state(self) -> StateDict:
        return self._module.state_dict() if self._average is None else self._average.state

    def _leave(self, epoch: int, order: torch.Tensor) -> None:
        """Save in the middle of an epoch, and end."""
        self._save(order)
        raise self._saving.interrupted(epoch, self._config.epochs)

    def _save(self, order: torch.Tensor) -> None:
        """Save everything that decides how the training goes on."""
        if not (self._saving.is_wanted and self._processes.is_first):
            return
        losses = torch.stack(self._losses) if self._losses else torch.empty(0)
        tensors = {"order": order, "losses": losses}
        tensors |= _under("module", self._module.state_dict()) | _under("best", self.best_state)
        for number, slots in self._optimizer.state_dict()["state"].items():
            tensors |= _under(f"optimizer/{number}", {k: v for k, v in slots.items() if isinstance(v, torch.Tensor)})
        if self._average is not None:
            tensors |= _under("average", self._average.state)
        about = {
            "history": [record.to_dict() for record in self.history],
            "best_epoch": self.best_epoch,
            "average_steps": 0 if self._average is None else self._average.steps,
        }
        self._saving.save(len(self.history), len(self._losses), tensors, about)

    def _asked_by_any(self) -> bool:
        """Whether any process was asked to end; all decide the same."""
        return bool(self._processes.total(torch.tensor(float(self._stop.is_made))) > 0)


def _objective(record: EpochRecord, config: TrainingConfig) -> float:
    """Smaller is better; what is no number is worst."""
    value = record.valid_loss if config.objective == "valid_loss" else -record.valid_accuracy
    return math.inf if math.isnan(value) else value


def _under(part: str, tensors: StateDict) -> StateDict:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _copied(state: StateDict) -> StateDict:
    return {name: value.detach().clone() for name, value in state.items()}
