"""Distributed training: the rank of this process, its shard of each batch, and collective operations."""

from __future__ import annotations

import atexit
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # documented, but not in __all__
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from breedclf.errors import ConfigError, TrainingError
from breedclf.features.pass_share import ALONE, Together
from breedclf.training.together import working_together

T = TypeVar("T")


@dataclass(frozen=True)
class DistributedContext:
    """This process as one of `count` that train together; only the first writes files and calls hooks."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def shard(self, rows: torch.Tensor, part_size: int) -> torch.Tensor:
        """The rows of this process: every `count`-th one of each part of `part_size` rows.

        If the last part has none for this process, it gets the first row of the part, which `owned` doesn't count.
        """
        if self.count == 1:
            return rows
        parts = torch.split(rows, part_size)
        own = [part[self.rank :: self.count] if len(part) > self.rank else part[:1] for part in parts]
        return torch.cat([*own, rows[:0]])

    def owned(self, part_size: int) -> int:
        """How many rows of a part of `part_size` belong to this process."""
        return max(0, -(-(part_size - self.rank) // self.count))

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes (all-reduce)."""
        if self.count == 1:
            return values
        summed = values.to(self.device)
        distributed.all_reduce(summed)
        return summed.to(values.device)

    def gathered(self, own: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows in the first process, in order; `own` are the rows `rank::count` of this process.

        In the other processes the result has no meaning.
        """
        if self.count == 1:
            return own
        padded = torch.zeros(-(-count // self.count), *own.shape[1:], dtype=own.dtype, device=self.device)
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.count)] if self.is_first else None
        distributed.gather(padded, parts)
        return own if parts is None else torch.stack(parts, 1).flatten(0, 1)[:count]

    def lowest(self, values: torch.Tensor) -> torch.Tensor:
        """The minimum over all processes (all-reduce)."""
        if self.count == 1:
            return values
        lowest = values.to(self.device, copy=True)
        distributed.all_reduce(lowest, distributed.ReduceOp.MIN)
        return lowest.to(values.device)

    def from_all(self, value: T) -> list[T]:
        """The values of all processes, by rank (all-gather); they must be picklable."""
        if self.count == 1:
            return [value]
        values = [value] * self.count
        distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def together(self) -> Iterator[Together]:
        """Within it an error of one process is raised in all of them; they wait for each other at its end."""
        if self.count == 1:
            with ALONE.together() as alone:
                yield alone
            return
        store = PrefixStore(self.from_first(uuid.uuid4().hex), _store())
        with working_together(store, self.rank, self.count) as together:
            yield together

    def wait(self) -> None:
        """Wait until all processes have come here (barrier)."""
        if self.count > 1:
            distributed.barrier()

    def from_first(self, value: T) -> T:
        """The first process's value, sent to all (broadcast); it must be picklable."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, 0, device=self.device)
        return values[0]

    def same_everywhere(self, value: T, what: str) -> T:
        """The value, which must be the same in all processes; `what` made it.

        Raises:
            TrainingError: it differs from that of the first process.
        """
        if self.count > 1 and self.from_first(value) != value:
            raise TrainingError(
                f"the {what} gave another result in process {self.rank} than in the first: it may only depend on its "
                "arguments"
            )
        return value

    def wrap_ddp(self, module: nn.Module, *, fixed_statistics: bool) -> nn.Module:
        """The module in DistributedDataParallel, which averages gradients over all processes; itself if there is one.

        All processes start with the weights of the first. Batch norms that learn their statistics are synchronized on
        GPUs.
        """
        if self.count == 1:
            return module
        on_gpu = self.device.type == "cuda"
        if on_gpu and not fixed_statistics:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(
            module, device_ids=[self.device] if on_gpu else None, broadcast_buffers=not fixed_statistics
        )

    def check_batch(self, batch_size: int, accumulation_steps: int) -> None:
        """Check that each batch can be divided evenly.

        Raises:
            ConfigError: it can't.
        """
        if batch_size % (self.count * accumulation_steps):
            raise ConfigError(
                f"batch_size={batch_size}: {self.count} processes share each batch, in {accumulation_steps} part(s); "
                f"choose a multiple of {self.count * accumulation_steps}"
            )


SINGLE_PROCESS = DistributedContext()


def started_by_torchrun(variables: Mapping[str, str]) -> bool:
    """Whether torchrun started this process; SageMaker's toolkit sets MASTER_ADDR and the like without it too."""
    return "TORCHELASTIC_RUN_ID" in variables and int(variables.get("WORLD_SIZE") or 1) > 1


def is_first_process(variables: Mapping[str, str] | None = None) -> bool:
    """Whether this is the first of the processes that torchrun started; without torchrun it is the only one."""
    variables = os.environ if variables is None else variables
    return not started_by_torchrun(variables) or int(variables.get("RANK") or 0) == 0


def local_device(device: torch.device, variables: Mapping[str, str]) -> torch.device:
    """The GPU of this process, if there are several."""
    if device.type != "cuda" or not started_by_torchrun(variables):
        return device
    return torch.device("cuda", int(variables.get("LOCAL_RANK") or 0))


@cache
def _store() -> Store:
    """torchrun's key-value store; the process group doesn't give its own."""
    store: Store = next(rendezvous("env://"))[0]
    return store


@contextmanager
def distributed_context(
    device: torch.device, variables: Mapping[str, str] | None = None
) -> Iterator[DistributedContext]:
    """Joins the processes that torchrun started; without torchrun, this process is the only one.

    If there are several GPUs, its `device` is the one of this process.

    The processes communicate through NCCL on GPUs and gloo on CPUs. The process group is kept until the process exits,
    since a new one can't be created for the next run: addresses of the old one are still known.
    """
    variables = os.environ if variables is None else variables
    device = local_device(device, variables)
    if not started_by_torchrun(variables):
        yield DistributedContext(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    yield DistributedContext(distributed.get_rank(), distributed.get_world_size(), device)
