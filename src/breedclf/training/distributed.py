"""Several processes that train one model: which of them this is, its share of each batch, and sums over all."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from breedclf.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """One of `count` processes; the first alone writes files and tells what happens."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, rows: torch.Tensor, part_size: int) -> torch.Tensor:
        """This process's rows: of each part of `part_size` every `count`-th one.

        A last part that leaves nothing for this process gives it the part's first row, which `owned` doesn't count.
        """
        if self.count == 1:
            return rows
        parts = torch.split(rows, part_size)
        own = [part[self.rank :: self.count] if len(part) > self.rank else part[:1] for part in parts]
        return torch.cat([*own, rows[:0]])

    def owned(self, part_size: int) -> int:
        """How many rows of a part of that size count as this process's."""
        return max(0, -(-(part_size - self.rank) // self.count))

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, the same in each of them."""
        if self.count == 1:
            return values
        summed = values.to(self.device)
        distributed.all_reduce(summed)
        return summed.to(values.device)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            distributed.barrier()

    def from_first(self, data: bytes | None) -> bytes | None:
        """What the first process has, given to all."""
        if self.count == 1:
            return data
        size = torch.tensor([-1 if data is None else len(data)], device=self.device)
        distributed.broadcast(size, 0)
        if int(size) < 0:
            return None
        content = torch.empty(int(size), dtype=torch.uint8)
        if data is not None:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        content = content.to(self.device)
        distributed.broadcast(content, 0)
        return bytes(content.cpu().numpy().tobytes())

    def together(self, module: nn.Module, *, fixed_statistics: bool) -> nn.Module:
        """The module with its gradients averaged over all processes; each begins with the first one's weights."""
        if self.count == 1:
            return module
        on_gpu = self.device.type == "cuda"
        if on_gpu and not fixed_statistics:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(
            module, device_ids=[self.device] if on_gpu else None, broadcast_buffers=not fixed_statistics
        )

    def check_batch(self, batch_size: int, accumulation_steps: int) -> None:
        """A batch must go into equal shares.

        Raises:
            ConfigError: it doesn't.
        """
        if batch_size % (self.count * accumulation_steps):
            raise ConfigError(
                f"batch_size={batch_size}: {self.count} processes share each batch, in {accumulation_steps} part(s); "
                f"choose a multiple of {self.count * accumulation_steps}"
            )


SINGLE_PROCESS = Processes()


def started_by_torchrun(variables: Mapping[str, str]) -> bool:
    """Whether torchrun started this process; SageMaker's toolkit sets MASTER_ADDR and the like without it, too."""
    return "TORCHELASTIC_RUN_ID" in variables and int(variables.get("WORLD_SIZE") or 1) > 1


def local_device(device: torch.device, variables: Mapping[str, str]) -> torch.device:
    """Of several GPUs the one that belongs to this process."""
    if device.type != "cuda" or not started_by_torchrun(variables):
        return device
    return torch.device("cuda", int(variables.get("LOCAL_RANK") or 0))


@contextmanager
def joined(device: torch.device, variables: Mapping[str, str] | None = None) -> Iterator[Processes]:
    """Within it this process is one of those that torchrun started together; elsewhere it is alone.

    They talk through NCCL on GPUs and through gloo on CPUs. The group lasts as long as the process: one that is ended
    can't be made anew for the next training, since addresses of the old one are still known.
    """
    variables = os.environ if variables is None else variables
    if not started_by_torchrun(variables):
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    yield Processes(distributed.get_rank(), distributed.get_world_size(), device)
