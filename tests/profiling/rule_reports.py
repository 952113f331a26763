"""Writes rule reports in the shape of SageMaker's ProfilerReport, of a run made up for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# rule: (times triggered, violations, datapoints)
COUNTS = {
    "BatchSize": (12, 12, 2000),
    "CPUBottleneck": (31, 1400, 2004),
    "Dataloader": (1, 1, 9),
    "GPUMemoryIncrease": (0, 0, 2000),
    "IOBottleneck": (0, 77, 2004),
    "LoadBalancing": (0, 0, 0),
    "LowGPUUtilization": (12, 12, 2000),
    "MaxInitializationTime": (0, 0, 240),
    "OverallFrameworkMetrics": (0, 0, 0),
    "OverallSystemUsage": (0, 0, 2000),
    "StepOutlier": (2, 26, 240),
}
START = 1_700_000_000.0


def report(rule: str) -> dict[str, Any]:
    triggered, violations, datapoints = COUNTS[rule]
    return {
        "RuleTriggered": triggered,
        "Violations": violations,
        "Details": _DETAILS.get(rule, {}),
        "Datapoints": datapoints,
        "RuleParameters": "threshold:50\nmode:None" if rule != "OverallSystemUsage" else "",
    }


def write(folder: Path) -> Path:
    """A job's `rule-output/ProfilerReport-.../profiler-output/profiler-reports`, which is returned."""
    place = folder / "rule-output" / "ProfilerReport-1700000000" / "profiler-output" / "profiler-reports"
    place.mkdir(parents=True)
    for rule in COUNTS:
        (place / f"{rule}.json").write_text(json.dumps(report(rule)))
    return place


def _percentiles(*values: float) -> dict[str, dict[str, float]]:
    return {"algo-1": dict(zip(("max", "p99", "p95", "p50", "min"), values, strict=True))}


_DETAILS: dict[str, dict[str, Any]] = {
    "BatchSize": {
        "algo-1": {part: {"p25": 1.0, "p50": 2.0, "p75": 3.0, "p95": 4.0} for part in ("cpu", "gpu0", "gpu0_memory")},
        "last_timestamp": 1_700_000_500_000_000,
    },
    "CPUBottleneck": {
        "low_gpu_utilization": 1900,
        "bottlenecks": {f"{START + at}": {"GPUs": 1, "CPUs": 2} for at in range(50)},
    },
    "Dataloader": {
        "pin_memory": False,
        "num_workers": 0,
        "cores": 4,
        "dataloaders": 1,
        "dataloading_time": {
            "p25": 0.5,
            "p50": 0.75,
            "p95": 1.5,
            "probs": [4, 3, 2],
            "binedges": [0.25, 0.75, 1.25, 2],
        },
    },
    "MaxInitializationTime": {
        "step_num": {"first": int((START + 125) * 1e6), "last": int((START + 1970) * 1e6)},
        "job_start": START,
        "job_end": START + 2000,
    },
    "OverallFrameworkMetrics": {
        "ratio": {"gpu_functions-dev:0": 40.0, "cpu_functions": 60.0},
        "phase": {"Step:ModeKeys.TRAIN": 92.5, "others": -4.5, "Step:ModeKeys.EVAL": 12.0},
        "phase_time": {},
        "CPU": {"aten::conv2d": 25.0, "aten::convolution": 24.5},
        "CPU_total": {"aten::conv2d": 2_500_000, "aten::convolution": 2_450_000},
        "general": {"DataLoaderIter": 1.5, "Forward": 98.5},
    },
    "OverallSystemUsage": {
        "CPU": _percentiles(99, 80, 60, 40, 1),
        "CPU memory": _percentiles(20, 19, 18, 17, 2),
        "GPU": _percentiles(30, 20, 10, 0, 0),
        "GPU memory": _percentiles(12, 11, 10, 9, 0),
        "I/O": _percentiles(50, 20, 10, 0, 0),
        "Network": _percentiles(5e7, 1e5, 1e3, 0, 0),
    },
    "StepOutlier": {
        "step_details": {
            "algo-1-27": {
                "step_stats": {"mean": 2.5, "max": 30.0, "p99": 12.0, "p95": 6.0, "p50": 2.0, "min": 0.5},
                "number_of_outliers": 13,
                "phase": "Step:ModeKeys.TRAIN",
                "stddev": 1.25,
                "probs": [10, 200, 17, 13],
                "binedges": [0.5, 1, 3, 7, 30],
                "step_numbers": [str(at) for at in range(13)],
            }
        }
    },
}
