"""The table of planted faults: a line each, so that it can be read as a table."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from breedclf.profiling.profile import Loader, Profile
from tests.profiling import planted_profiles as planted


def long_steps(count: int) -> np.ndarray:
    duration = 1 + 0.02 * planted.random().standard_normal(400)
    duration[np.flatnonzero(np.arange(400) % 10 < 8)[: count * 20 : 20]] = 12.0
    return duration


def replaced(kind: str, name: str, **measures: object) -> tuple[object, ...]:
    """The healthy tensors, one of them changed."""
    out = []
    for tensor in planted.tensors():
        if (tensor.kind, tensor.name) == (kind, name):
            tensor = planted.tensor(kind, name, tensor.detail, **{**tensor.measures, **measures})
        out.append(tensor)
    return tuple(out)


def slow_loading(**loader: object) -> dict[str, object]:
    return {"steps": planted.steps(wait=0.6), "loader": Loader(**{"workers": 7, "batch_size": 32, **loader})}


RAMP = np.linspace(0, 1, 800)
GPU = {"job": planted.gpu_job()}

# fault: (the rule that names it, rules that may come with it, what is planted)
FAULTS: dict[str, tuple[str, set[str], Callable[[], Profile]]] = {
    "slow reader": ("SlowReader", {"Dataloader"}, lambda: planted.clean(**slow_loading(read_seconds=0.08, decode_seconds=2e-3))),
    "CPU-bound transform": ("SlowTransform", {"Dataloader"}, lambda: planted.clean(**slow_loading(read_seconds=1e-4, decode_seconds=2e-2, transform_seconds=1e-2))),
    "no workers": ("Dataloader", {"SlowTransform"}, lambda: planted.clean(**slow_loading(workers=0, decode_seconds=4e-3, read_seconds=1e-4))),
    "too many workers": ("Dataloader", {"CoreOversubscription"}, lambda: planted.clean(loader=Loader(workers=40, batch_size=32))),
    "tiny batch": ("BatchSize", set(), lambda: planted.clean(loader=Loader(workers=7, batch_size=2), steps=planted.steps(parts={"data_wait": np.full(400, 0.01), "forward": np.full(400, 0.1), "backward": np.full(400, 0.2), "optimizer": np.full(400, 0.5)}))),
    "tiny batch on a GPU": ("BatchSize", {"LowGPUUtilization"}, lambda: planted.clean(**GPU, system=planted.gpu_system(gpu=30.0, gpu_memory=20.0, cpu=30.0))),
    "GPU starved by the CPU": ("CPUBottleneck", {"LowGPUUtilization"}, lambda: planted.clean(**GPU, system=planted.gpu_system(gpu=3.0, cpu=97.0))),
    "slow disk": ("IOBottleneck", set(), lambda: planted.clean(system=planted.system(io_wait=80.0))),
    "GPU memory leak": ("GPUMemoryIncrease", set(), lambda: planted.clean(**GPU, system=planted.gpu_system(gpu_memory=40 + 40 * RAMP))),
    "memory leak": ("HostMemoryIncrease", set(), lambda: planted.clean(system=planted.system(process_memory=2e9 + 4e9 * RAMP))),
    "more threads than cores": ("CoreOversubscription", set(), lambda: planted.clean(job=planted.job(threads=64), system=planted.system(cpu=99.0))),
    "rank imbalance": ("LoadBalancing", {"LowGPUUtilization"}, lambda: planted.clean(**GPU, system=planted.gpu_system(second=20.0))),
    "GPU used in bursts": ("LowGPUUtilization", set(), lambda: planted.clean(**GPU, system=planted.gpu_system(gpu=np.where(np.arange(800) % 10 < 2, 0.0, 95.0)))),
    "slow steps now and then": ("StepOutlier", set(), lambda: planted.clean(steps=planted.steps(duration=long_steps(12)))),
    "slow start": ("MaxInitializationTime", set(), lambda: planted.clean(job=planted.job(initialization_seconds=1500.0))),
    "stalled step": ("StalledTraining", set(), lambda: planted.clean(steps=planted.steps(duration=np.where(np.arange(400) == 200, 2000.0, 1.0)), job=planted.job(end=1_600_002_500.0))),
    "vanishing gradient": ("VanishingGradient", {"WeightUpdateRatio"}, lambda: planted.clean(tensors=replaced("gradient", "layer4.conv", mean_abs=1e-9))),
    "exploding learning rate": ("ExplodingTensor", {"LossNotDecreasing"}, lambda: planted.clean(learning=planted.learning(step_loss=np.where(np.arange(320) < 40, 2.0, np.nan)))),
    "tensor that is not finite": ("ExplodingTensor", set(), lambda: planted.clean(tensors=replaced("gradient", "fc.weight", finite=0.0))),
    "dead ReLU": ("DeadRelu", set(), lambda: planted.clean(tensors=replaced("activation", "relu", inactive_share=0.8))),
    "saturated tanh": ("SaturatedActivation", set(), lambda: planted.clean(tensors=replaced("activation", "gate", saturated_share=0.9))),
    "bad initial weights": ("PoorWeightInitialization", set(), lambda: planted.clean(tensors=replaced("weight", "layer4.conv", std=3.0))),
    "huge updates": ("WeightUpdateRatio", set(), lambda: planted.clean(tensors=replaced("gradient", "fc.weight", update_ratio=50.0))),
    "all-zero weights": ("AllZero", set(), lambda: planted.clean(tensors=replaced("weight", "layer4.conv", zero_share=1.0))),
    "weights that don't move": ("UnchangedTensor", set(), lambda: planted.clean(tensors=replaced("weight", "layer4.conv", change=0.0))),
    "images not normalized": ("CheckInputImages", set(), lambda: planted.clean(tensors=replaced("input", "pictures", mean=115.0, std=60.0))),
    "learning rate too high": ("LossNotDecreasing", set(), lambda: planted.clean(learning=planted.learning(step_loss=np.linspace(1, 9, 320)))),
    "overfitting": ("Overfit", set(), lambda: planted.clean(learning=planted.learning(train_loss=[1.0, 0.5, 0.2, 0.05], valid_loss=[1.0, 0.7, 0.9, 1.4]))),
    "trained too long": ("Overtraining", set(), lambda: planted.clean(learning=planted.learning(train_loss=[1.0, 0.5] + [0.4] * 12, valid_loss=[1.0, 0.5] + [0.4] * 12))),
    "class imbalance": ("ClassImbalance", set(), lambda: planted.clean(learning=planted.learning(class_counts=[5, 100, 110]))),
}  # fmt: skip
