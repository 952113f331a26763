"""Fine-tuning all stages through the Trainer, against a bare loop on one batch that is on the device already."""

from __future__ import annotations

import shutil
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.timing import WaitTimer, halved_until_it_fits, mean_seconds
from benchmarks.scale.images import CLASSES
from breedclf import Trainer, TrainingConfig
from breedclf.models.backbones.backbone import find_backbone
from breedclf.runtime.device import compute_for

PX = 224
"""The Trainer's crop."""


def run(setup: Setup, notes: Notes) -> None:
    notes.measure("bare loop, images per second", lambda: bare(setup))
    bare_rate = notes.found["bare loop, images per second"].get("images_per_second")
    kinds: dict[str, dict[str, Any]] = {
        "CPU decoding, new crops in each epoch": {"augment": "crop"},
        "CPU decoding, plain crops": {"augment": "none"},
        "decoded cache, new crops in each epoch": {"augment": "crop", "decoded_cache": True},
        "nvJPEG, new crops in each epoch": {"augment": "crop", "device_decoding": True},
    }
    for name, settings in kinds.items():
        needs_cuda = "device_decoding" in settings
        notes.measure(name, lambda s=settings: ours(setup, bare_rate, s), needs_cuda=needs_cuda)


def bare(setup: Setup) -> dict[str, float]:
    """Forward, backward and SGD in the same precision as the Trainer's."""
    batch, rate = halved_until_it_fits(lambda size: _bare_rate(setup, size), setup.sizes.batch_size)
    return {"batch": batch, "images_per_second": rate}


def _bare_rate(setup: Setup, batch: int) -> float:
    device, compute = setup.torch_device, compute_for(setup.device, "auto")
    network = find_backbone(setup.sizes.architecture).new_network(seed=0, classes=CLASSES)
    network = network.to(device=device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    images = torch.randn(batch, 3, PX, PX, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(batch, device=device) % CLASSES

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=compute.precision == "bf16"):
            scores = network(images)
        loss = F.cross_entropy(scores.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return batch / mean_seconds(step, device, seconds=2 * setup.sizes.seconds)


def ours(setup: Setup, bare_rate: float | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The last epoch of a run of the Trainer."""
    sizes, timer = setup.sizes, WaitTimer()
    output = setup.folder / "finetune"
    config = TrainingConfig(
        data=setup.images,
        architecture=sizes.architecture,
        weights="none",
        freeze="none",
        epochs=sizes.epochs,
        batch_size=sizes.batch_size,
        device="cuda" if setup.on_gpu else "cpu",
        cache_dir=setup.folder / "cache",
        output=output,
        calibration=False,
        feature_bank=False,
        checkpoints=False,
        **settings,
    )
    result = Trainer(config).fit(hooks=[timer])
    shutil.rmtree(output)
    summary = timer.phases["train", sizes.epochs].summary()
    rate = result.history[-1].images_per_second
    return {
        **summary,
        "images_per_second": rate,
        "share_of_the_bare_loop": None if bare_rate is None else rate / bare_rate,
        "first_epoch_images_per_second": result.history[0].images_per_second,
        "train_loss": result.history[-1].train_loss,
        "seconds": result.seconds,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if setup.on_gpu else None,
    }
