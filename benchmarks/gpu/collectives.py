"""NCCL with one process: its start, every collective that distributed training uses, and what DDP adds to a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.timing import mean_seconds, seconds_of
from benchmarks.scale.images import CLASSES
from benchmarks.serving import free_port
from breedclf.models.backbones.backbone import find_backbone
from breedclf.training.distributed import DistributedContext

_VALUES = 25_000_000
"""About as many as ResNet-50 has weights."""


def run(setup: Setup, notes: Notes) -> None:
    device = torch.device("cuda", 0) if setup.on_gpu else setup.torch_device
    if setup.on_gpu:
        torch.cuda.set_device(device)
    name = "nccl" if setup.on_gpu else "gloo"
    notes["backend"] = name
    address = f"tcp://127.0.0.1:{free_port()}"
    start = lambda: distributed.init_process_group(name, init_method=address, rank=0, world_size=1)  # noqa: E731
    notes.measure("seconds to join", lambda: seconds_of(start, device))
    if not distributed.is_initialized():
        return
    values = torch.ones(_VALUES if setup.on_gpu else 1_000, device=device)
    works: dict[str, Callable[[], object]] = {
        "all_reduce": lambda: distributed.all_reduce(values),
        "barrier": distributed.barrier,
        "gather": lambda: distributed.gather(values, [torch.empty_like(values)]),
        "all_gather_object": lambda: distributed.all_gather_object([None], "a value"),
        "broadcast_object_list": lambda: distributed.broadcast_object_list(["a value"], 0, device=device),
    }
    for title, work in works.items():
        notes.measure(f"{title}, ms", lambda w=work: 1000 * mean_seconds(w, device, seconds=setup.sizes.seconds / 3))
    notes.measure("one step", lambda: steps(setup, device))
    notes.measure("one step with synchronized batch norms", lambda: synchronized(setup, device), needs_cuda=True)
    distributed.destroy_process_group()


def steps(setup: Setup, device: torch.device) -> dict[str, Any]:
    """Milliseconds of forward, backward and SGD, without DDP and with it."""
    alone = _step_seconds(setup, device, lambda network: network)
    wrapped = _step_seconds(
        setup, device, lambda network: DistributedDataParallel(network, device_ids=[device] if setup.on_gpu else None)
    )
    return {"alone_ms": 1000 * alone, "ddp_ms": 1000 * wrapped, "ddp over alone": wrapped / alone}


def synchronized(setup: Setup, device: torch.device) -> dict[str, float]:
    """Milliseconds of a step as `DistributedContext.wrap_ddp` prepares it for several GPUs."""
    context = DistributedContext(rank=0, count=2, device=device)  # a count of one isn't wrapped
    seconds = _step_seconds(setup, device, lambda network: context.wrap_ddp(network, fixed_statistics=False))
    return {"ddp_ms": 1000 * seconds}


def _step_seconds(setup: Setup, device: torch.device, wrap: Callable[[nn.Module], nn.Module]) -> float:
    network = find_backbone(setup.sizes.architecture).new_network(seed=0, classes=CLASSES).to(device)
    network = wrap(network)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    batch, crop = setup.sizes.batch_size // 2, setup.sizes.crop_px
    images = torch.randn(batch, 3, crop, crop, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(batch, device=device) % CLASSES

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=setup.on_gpu):
            scores = network(images)
        optimizer.zero_grad()
        F.cross_entropy(scores.float(), targets).backward()
        optimizer.step()

    return mean_seconds(step, device, seconds=setup.sizes.seconds)
