"""One optimizer step: forward and backward passes over the parts of a batch, then the update of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.runtime.timers import StepTimer
from breedclf.training.distributed import DistributedContext
from breedclf.training.losses import BatchLoss, Blend
from breedclf.training.state import TrainingState


class TrainingStep:
    """Takes optimizer steps. A batch is computed in `accumulate` parts of equal size, whose gradients are summed."""

    def __init__(
        self,
        loss: BatchLoss,
        config: TrainingConfig,
        state: TrainingState,
        distributed: DistributedContext,
        timer: StepTimer,
    ) -> None:
        self._loss, self._state, self._distributed, self._timer = loss, state, distributed, timer
        self._accumulation_steps = config.gradient_accumulation_steps
        self._clip_norm, self._mixup, self._seed = config.clip_norm, config.mixup, config.seed
        self.part_size: int = config.batch_size // config.gradient_accumulation_steps

    def __call__(
        self,
        batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
        rows: torch.Tensor,
        targets: torch.Tensor,
        epoch: int,
        step: int,
    ) -> torch.Tensor:
        """Train on one batch and return its mean loss, or this process's share of it, on the device.

        Args:
            batches: gives the inputs and targets of this process's shard of each part.
            rows: the rows [B] of the whole batch.
            targets: the targets of all rows.
            epoch: counted from 1.
            step: counted from 1 within the epoch.
        """
        state, timer, count = self._state, self._timer, self._distributed.count
        parts = torch.split(rows, self.part_size)
        losses = []
        for number, part in enumerate(parts):
            inputs, part_targets = next(batches)
            timer.lap("data_wait")
            place = step * self._accumulation_steps + number
            loss = self._part_loss(inputs, part_targets, len(part), targets[rows], epoch, place)
            timer.lap("forward")
            if number == 0:
                state.optimizer.zero_grad()
            with self._gradient_sync(last=number == len(parts) - 1):
                # Processes average their gradients, but each computes its share of one mean.
                (loss * count if count > 1 else loss).backward()  # type: ignore[no-untyped-call]
            timer.lap("backward")
            losses.append(loss.detach())
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(state.module.parameters(), self._clip_norm)
        state.optimizer.step()
        if state.average is not None:
            state.average.follow(state.module)
        timer.lap("optimizer")
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        timer.loss(loss)
        return loss

    def _part_loss(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        part_size: int,
        batch_targets: torch.Tensor,
        epoch: int,
        place: int,
    ) -> torch.Tensor:
        """What the inputs contribute to the mean loss of the batch; `place` numbers the parts of an epoch."""
        is_whole = self._distributed.count == 1 and self._accumulation_steps == 1
        targets = targets[: self._distributed.owned(part_size)]

        def measured(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return self._loss.mean(scores, targets) if is_whole else self._loss.part(scores, targets, batch_targets)

        if not self._mixup or len(targets) < 2:
            return measured(self._state.wrapped(inputs), targets)
        blend = Blend.draw(self._mixup, len(targets), seed=self._seed, epoch=epoch, step=place)
        scores = self._state.wrapped(blend.inputs(inputs))
        return blend(measured(scores, targets), measured(scores, targets[blend.partner]))

    def _gradient_sync(self, *, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients only after the last part of a batch."""
        if last or self._distributed.count == 1:
            return nullcontext()
        return self._state.wrapped.no_sync()  # type: ignore[operator, no-any-return]
