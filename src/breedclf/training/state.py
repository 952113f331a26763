"""The state of a run under way: module, optimizer, moving average, order of images and history, saved and restored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from breedclf.config import Objective, TrainingConfig
from breedclf.errors import TrainingError
from breedclf.models.backbones.backbone import StateDict
from breedclf.runtime.timers import StepTimer
from breedclf.training.checkpoints.checkpoint import Checkpoint
from breedclf.training.distributed import DistributedContext
from breedclf.training.ema import MovingAverage
from breedclf.training.optimizers import new_optimizer
from breedclf.training.records import EpochRecord
from breedclf.training.step_losses import StepLosses
from breedclf.training.task import TrainingTask


class TrainingState:
    """Everything that changes while a task is trained.

    `module` is the task's, and `wrapped` the same for forward passes with gradients; `losses` are those of the steps of
    the current epoch, still on the device; `order` draws the order of the images; `rows_mark` is a hash of the rows
    that an own sampler drew for the current epoch.
    """

    def __init__(
        self, task: TrainingTask, config: TrainingConfig, distributed: DistributedContext, timer: StepTimer
    ) -> None:
        self.module: nn.Module = task.module
        self.wrapped: nn.Module = distributed.wrap_ddp(task.module, fixed_statistics=task.fixed_statistics)
        self.optimizer: torch.optim.Optimizer = new_optimizer(task.module, config)
        self.average: MovingAverage | None = MovingAverage(task.module, config.ema) if config.ema else None
        self.order: torch.Generator = torch.Generator().manual_seed(config.seed)
        self.losses: StepLosses = StepLosses()
        self.rows_mark: str | None = None
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_state: StateDict = {}
        self._objective: Objective = config.objective
        timer.watch(task.module, self.optimizer)

    def check_rows(self, mark: str | None, epoch: int) -> None:
        """Keep the mark of an epoch's rows; if the epoch was interrupted, compare it with the one before.

        Raises:
            TrainingError: the rows are others than before the interruption.
        """
        if self.losses and self.rows_mark is not None and self.rows_mark != mark:
            raise TrainingError(
                f"the sampler drew other rows for epoch {epoch} than before the interruption: it may only use the "
                "generator that it gets as a source of random numbers, and nothing that changes between runs. Restart "
                "without --resume"
            )
        self.rows_mark = mark

    def end_epoch(self, record: EpochRecord) -> None:
        """Append the record of an epoch, and keep a copy of the weights if it is the best one."""
        self.history.append(record)
        self.losses, self.rows_mark = StepLosses(), None
        if best_epoch_of(self.history, self._objective) == record.epoch:
            state = self.module.state_dict() if self.average is None else self.average.state
            self.best_epoch = record.epoch
            self.best_state = {name: value.detach().clone() for name, value in state.items()}

    def restore(self, start: Checkpoint) -> None:
        """Continue from a checkpoint."""
        device = next(self.module.parameters()).device
        self.module.load_state_dict(start.part("module"))
        self.best_state = {name: tensor.to(device) for name, tensor in start.part("best").items()}
        self.best_epoch = int(start.about["best_epoch"])
        self.history = [EpochRecord.from_dict(record) for record in start.about["history"]]
        self.order.set_state(start.tensors["order"])
        self.losses = StepLosses(start.tensors["losses"].to(device))
        self.rows_mark = start.about.get("rows_mark")
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in start.part("optimizer").items():
            number, _, key = name.partition("/")
            slots.setdefault(int(number), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        if self.average is not None:
            self.average.steps = start.about["average_steps"]
            self.average.state = {name: tensor.to(device) for name, tensor in start.part("average").items()}

    def tensors(self, order: torch.Tensor) -> StateDict:
        """The tensors of a checkpoint; `order` is the state of the generator at the start of the epoch."""
        tensors = {"order": order, "losses": self.losses.values.clone()}
        tensors |= _under("module", self.module.state_dict()) | _under("best", self.best_state)
        for number, slots in self.optimizer.state_dict()["state"].items():
            tensors |= _under(f"optimizer/{number}", {k: v for k, v in slots.items() if isinstance(v, torch.Tensor)})
        if self.average is not None:
            tensors |= _under("average", self.average.state)
        return tensors

    def about(self) -> dict[str, Any]:
        """The plain values of a checkpoint."""
        about = {
            "history": [record.to_dict() for record in self.history],
            "best_epoch": self.best_epoch,
            "average_steps": 0 if self.average is None else self.average.steps,
        }
        return about if self.rows_mark is None else {**about, "rows_mark": self.rows_mark}


def best_epoch_of(history: Sequence[EpochRecord], objective: Objective) -> int:
    """The epoch with the best objective, counted from 1; the earlier one of equals, and 0 for no epochs."""
    if not history:
        return 0
    return min(history, key=lambda record: (_cost(record, objective), record.epoch)).epoch


def _cost(record: EpochRecord, objective: Objective) -> float:
    """Smaller is better; NaN is worst."""
    value = record.valid_loss if objective == "valid_loss" else -record.valid_accuracy
    return math.inf if math.isnan(value) else value


def _under(part: str, tensors: StateDict) -> StateDict:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}
