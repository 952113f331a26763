"""A profiler-output folder like SageMaker's, made to given figures."""

# ruff: noqa: E501

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

START = 1_600_000_000.0
HOST, PROCESS = "algo-1", 27


def durations(count: int = 300, *, mean: float = 5.0, deviation: float = 2.99, outliers: int = 12) -> np.ndarray:
    """Step durations with exactly this mean, standard deviation and number of steps above mean + 3 deviations.

    The outliers share one duration, the rest alternate around another: two unknowns, two equations.
    """
    share = outliers / count
    high = mean + deviation * np.sqrt((1 - share) / share) * 0.99
    low = (mean - share * high) / (1 - share)
    between = share * (high - mean) ** 2 + (1 - share) * (low - mean) ** 2
    swing = np.sqrt((deviation**2 - between) / (1 - share))
    made = np.where(np.arange(count) % 2 == 0, low - swing, low + swing)
    made[np.linspace(5, count - 5, outliers).astype(int)] = high
    usual = np.flatnonzero(made != high)
    made[usual] = np.where(np.arange(len(usual)) % 2 == 0, low - swing, low + swing)
    return made


def write(folder: Path, *, cores: int = 8, seconds: float = 2094.0, workers: int = 1) -> Path:
    """`profiler-output` of a job of that length on one machine without a GPU."""
    root = folder / "profiler-output"
    steps = durations()
    system = root / "system" / "incremental" / "2020091312"
    system.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for minute in range(int(seconds // 60) + 1):
        lines = []
        for second in np.arange(60 * minute, min(60 * (minute + 1), seconds), 5.0):
            for core in range(cores):
                lines.append(_sample("cpu", f"cpu{core}", "CPUUtilization", 70 + 5 * draw.standard_normal(), second))
            lines.append(_sample("memory", "memory", "MemoryUsedPercent", 22.0, second))
            lines.append(_sample("cpu", "IOWait", "I/OWaitPercentage", 1.0, second))
        (system / f"{int(START) + 60 * minute}.algo-1.json").write_text("\n".join(lines) + "\n")
    events: list[dict[str, object]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "Step:ModeKeys.TRAIN", "start_time_since_epoch_in_micros": int(START * 1e6)}},
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "Step:ModeKeys.TRAIN"}},
        {"name": "process_name", "ph": "M", "pid": 2, "args": {"name": "DataLoaderIter"}},
    ]  # fmt: skip
    at = 60.0
    for number, length in enumerate(steps):
        events.append({"name": "Step", "ph": "X", "pid": 1, "ts": at * 1e6, "dur": length * 1e6, "args": {"pid": 27, "step_num": str(number)}})  # fmt: skip
        worker = {"worker_id": number % workers, "pid": 30 + number % workers}
        events.append({"name": "DataLoaderIterInitialize", "ph": "X", "pid": 2, "ts": at * 1e6, "dur": 1e4, "args": worker})  # fmt: skip
        at += length
    events += operators(60.0)
    framework = root / "framework" / "pevents" / "2020091312"
    framework.mkdir(parents=True)
    (framework / f"{int((START + at) * 1e6)}_{PROCESS}-{HOST}_pythontimeline.json").write_text(json.dumps(events))
    (root / "framework" / "training_job_end.ts").write_text(str(START + seconds))
    return root


def operators(start: float) -> list[dict[str, object]]:
    """A step's operators as AWS wrote them: a convolution within four names, which its report made "conv2d, 19%".

    The four last 100, 99.5, 99 and 98 ms; 130 ms of others follow, so that conv2d's part of the sum of all is 19%.
    """
    phase = {"name": "process_name", "ph": "M", "pid": 3, "args": {"name": "cpu_functions"}}
    calls = [("aten::conv2d", 0, 100), ("aten::convolution", 0.25, 99.5), ("aten::_convolution", 0.5, 99)]
    calls += [("aten::mkldnn_convolution", 1, 98), ("aten::batch_norm", 100, 70), ("aten::relu_", 170, 60)]
    return [
        phase,
        *(
            {
                "name": name,
                "ph": "X",
                "pid": 3,
                "ts": start * 1e6 + at * 1e3,
                "dur": dur * 1e3,
                "args": {"pid": 27, "tid": 1, "step_num": "0"},
            }
            for name, at, dur in calls
        ),
    ]


def _sample(kind: str, name: str, dimension: str, value: float, second: float) -> str:
    return json.dumps(
        {
            "Type": kind,
            "Name": name,
            "Dimension": dimension,
            "Value": value,
            "NodeId": HOST,
            "Timestamp": START + second,
        }
    )
