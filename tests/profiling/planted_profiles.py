"""Profiles made to order: a clean run, and the same run with one fault planted."""

from __future__ import annotations

from typing import Any

import numpy as np

from breedclf.profiling.profile import (
    Compute,
    JobInfo,
    Learning,
    Loader,
    Operator,
    Profile,
    Series,
    Spans,
    Steps,
    System,
    TensorSeries,
)

CORES = 8
SECONDS = 400.0


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def steps(count: int = 400, *, seconds: float = 1.0, wait: float = 0.02, node: str = "local", **columns: Any) -> Steps:
    """Steps of about equal length, four fifths of them training."""
    draw = random()
    duration = columns.pop("duration", seconds * (1 + 0.02 * draw.standard_normal(count)))
    count = len(duration)
    wait_column = duration * wait
    work = duration - wait_column
    given = {
        "phases": ("train", "valid"),
        "nodes": (node,),
        "start": np.concatenate([[0.0], np.cumsum(duration)[:-1]]) + 2.0,
        "duration": duration,
        "phase": (np.arange(count) % 10 >= 8).astype(int),
        "node": np.zeros(count, dtype=int),
        "epoch": np.arange(count) // 100 + 1,
        "pictures": np.full(count, 32),
        "traced": np.zeros(count, dtype=int),
        "parts": {
            "data_wait": wait_column,
            "forward": work * 0.35,
            "backward": work * 0.6,
            "optimizer": work * 0.04,
        },
    }
    return Steps(**{**given, **columns})


def series(kind: str, value: Any, *, name: str | None = None, node: str = "local", noise: float = 2.0) -> Series:
    """800 samples, two a second, around a value or along a given column."""
    time = np.arange(0, SECONDS, 0.5)
    column = np.broadcast_to(np.asarray(value, dtype=float), time.shape) + noise * random(7).standard_normal(len(time))
    return Series(node=node, kind=kind, name=name or kind, time=time, value=np.maximum(column, 0))


def system(cpu: Any = 75.0, *, extra: tuple[Series, ...] = (), **values: Any) -> System:
    """A busy machine without a GPU; `values` replaces or adds kinds."""
    kinds = {"memory": 40.0, "process_memory": 3e9, "io_wait": 1.0, "disk_read": 5e6, "network": 1e4, **values}
    cores = tuple(series("cpu", cpu, name=f"cpu{i}") for i in range(CORES))
    rest = tuple(series(kind, value, noise=1e6 if kind == "process_memory" else 0.5) for kind, value in kinds.items())
    return System(interval_seconds=0.5, series=(*cores, *rest, *extra))


def gpu_system(
    gpu: Any = 92.0, gpu_memory: Any = 80.0, cpu: Any = 60.0, *, second: float | None = None, **values: Any
) -> System:
    extra = (series("gpu", gpu, name="gpu0"), series("gpu_memory", gpu_memory, name="gpu0", noise=0.3))
    if second is not None:
        extra += (series("gpu", second, name="gpu1"),)
    return system(cpu, extra=extra, **values)


def tensor(
    kind: str, name: str = "layer4.conv", detail: str = "conv", snapshots: int = 30, **measures: Any
) -> TensorSeries:
    return TensorSeries(
        name=name,
        kind=kind,
        detail=detail,
        step=np.arange(snapshots) * 10,
        measures={
            key: np.broadcast_to(np.asarray(value, dtype=float), (snapshots,)) for key, value in measures.items()
        },
    )


def tensors(snapshots: int = 30) -> tuple[TensorSeries, ...]:
    """Weights, gradients, activations and inputs of a healthy network."""
    wander = 1 + 0.1 * random(3).standard_normal(snapshots)
    return (
        tensor(
            "weight", "fc.weight", "linear", mean_abs=0.02, zero_share=0.0, finite=1.0, std=0.03, change=0.01 * wander
        ),
        tensor("weight", mean_abs=0.02, zero_share=0.0, finite=1.0, std=0.025, change=0.01 * wander),
        tensor(
            "gradient", "fc.weight", "linear", mean_abs=1e-3 * wander, zero_share=0.1, finite=1.0, update_ratio=1e-3
        ),
        tensor("gradient", mean_abs=1e-4 * wander, zero_share=0.1, finite=1.0, update_ratio=1e-3),
        tensor("activation", "relu", "relu", mean_abs=0.4, zero_share=0.5, finite=1.0, inactive_share=0.02),
        tensor("activation", "gate", "tanh", mean_abs=0.4, zero_share=0.0, finite=1.0, saturated_share=0.02),
        tensor("input", "pictures", "", mean_abs=0.8, zero_share=0.0, finite=1.0, mean=0.05, std=1.05),
    )


def learning(**columns: Any) -> Learning:
    step = np.arange(0, 320)
    given = {
        "step": step,
        "step_loss": 2.0 * np.exp(-step / 120) + 0.2 + 0.02 * random(5).standard_normal(len(step)),
        "train_loss": [1.4, 0.9, 0.6, 0.45],
        "valid_loss": [1.3, 0.95, 0.68, 0.55],
        "valid_accuracy": [0.5, 0.7, 0.8, 0.84],
        "class_names": ("basset", "beagle", "corgi"),
        "class_counts": [90, 100, 110],
        "class_errors": [0.2, 0.1, 0.15],
    }
    return Learning(**{**given, **columns})


def clean(**parts: Any) -> Profile:
    """A run with nothing wrong; arguments replace parts of the profile."""
    given: dict[str, Any] = {
        "job": job(),
        "steps": steps(),
        "spans": Spans(
            name=("initialization", "epoch", "finalization"), start=[0.0, 2.0, 402.0], duration=[2.0, 400.0, 1.0]
        ),
        "operators": (
            Operator(name="aten::mkldnn_convolution", calls=53, self_seconds=1.2, inclusive_seconds=1.2, flops=4e9),
            Operator(name="aten::convolution", calls=53, self_seconds=0.1, inclusive_seconds=1.4),
            Operator(name="aten::addmm", calls=1, self_seconds=0.2, inclusive_seconds=0.2, flops=1e7),
        ),
        "loader": Loader(workers=7, batch_size=32, read_seconds=1e-4, decode_seconds=2e-3, transform_seconds=1e-3),
        "system": system(),
        "tensors": tensors(),
        "learning": learning(),
        "compute": Compute(flops_per_step=3e11, images_per_step=32, phase="train", peak_flops_per_second=6e11),
    }
    return Profile(**{**given, **parts})


def job(**values: Any) -> JobInfo:
    given: dict[str, Any] = {
        "name": "clean",
        "start": 1_600_000_000.0,
        "end": 1_600_000_403.0,
        "initialization_seconds": 2.0,
        "finalization_seconds": 1.0,
        "cores": {"local": CORES},
        "threads": CORES,
    }
    return JobInfo(**{**given, **values})


def gpu_job(**values: Any) -> JobInfo:
    return job(device="cuda:0", gpus=1, **values)
