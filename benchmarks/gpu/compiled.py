"""torch.compile of the frozen backbone: seconds to compile, rate afterwards, and how far features drift."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.gpu.networks import backbone, forward_rate, inputs
from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.precisions import drift
from benchmarks.gpu.timing import seconds_of


def run(setup: Setup, notes: Notes) -> None:
    if not setup.on_gpu:
        torch.compiler.set_stance("force_eager")  # the calls are the same, without minutes of compiling C++
    batch = setup.sizes.chunks[-1]
    notes["batch"] = batch
    plain, compute = backbone(setup)
    images = inputs(setup, batch, compute.dtype)
    with torch.inference_mode():
        features = plain(images).float()

    def measured(network: nn.Module) -> dict[str, Any]:
        with torch.inference_mode():
            seconds = seconds_of(lambda: network(images), setup.torch_device)
            found = network(images).float()
        rate = forward_rate(setup, network, batch, compute.dtype)
        return {"first_pass_seconds": seconds, "images_per_second": rate, **drift(found, features)}

    notes.measure("not compiled", lambda: measured(plain))
    notes.measure("compile_network=True", lambda: measured(backbone(setup, compiled=True)[0]))
    notes.measure("torch.compile(mode='reduce-overhead')", lambda: measured(_with_graphs(plain)))


def _with_graphs(network: nn.Module) -> nn.Module:
    """Replayed as one CUDA graph."""
    compiled = torch.compile(network, mode="reduce-overhead")
    assert isinstance(compiled, nn.Module)
    return compiled
