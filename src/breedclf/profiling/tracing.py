"""Traces a few steps: operators with torch.profiler, FLOPs with a dispatch mode; measures the machine's peak speed."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry, register_flop_formula

from breedclf.models.fused_ops import can_fuse
from breedclf.profiling.profile import Operator
from breedclf.profiling.readers.operators import operators_of
from breedclf.runtime.process_wide import ProcessWide

WARM_UP_STEPS = 2
TRACED_STEPS = 3
_KINETO_LEVEL = "KINETO_LOG_LEVEL"
_SETTLED = WARM_UP_STEPS + TRACED_STEPS


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that counts floating-point operations, and the bytes that operators read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: dict[str, float] = {}
        self.bytes: dict[str, float] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry:
            with self:
                inner = func.decompose(*args, **kwargs)
            if inner is not NotImplemented:
                return inner
        out = func(*args, **kwargs)
        if packet in flop_registry:
            name = f"{func.namespace}::{packet.__name__}"
            count = flop_registry[packet](*args, **kwargs, out_val=out)
            self.flops[name] = self.flops.get(name, 0.0) + count
            self.bytes[name] = self.bytes.get(name, 0.0) + sum(map(_tensor_bytes, [*args, out]))
        return out


if can_fuse(torch.device("cpu")):

    @register_flop_formula(torch.ops.mkldnn._convolution_pointwise)
    def _fused_work(inputs: Any, second: Any, third: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        return int(conv_flop_count(inputs, _weight(second, third), out_shape))

    @register_flop_formula(torch.ops.mkldnn._convolution_pointwise_)
    def _fused_work_with_sum(_: Any, inputs: Any, weight: Any, *__: Any, out_shape: Any, **___: Any) -> int:
        return int(conv_flop_count(inputs, weight, out_shape))

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _fused_linear_work(inputs: Any, second: Any, third: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        del inputs
        return int(2 * math.prod(out_shape) * _weight(second, third)[-1])

    def _weight(second: Any, third: Any) -> Any:
        """The weight's shape: the third argument where something is added, since it follows what is added."""
        return second if third is None or len(third) == 1 else third


def _tensor_bytes(value: Any) -> float:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_tensor_bytes, value)) if isinstance(value, tuple | list) else 0.0


@dataclass
class Tracer:
    """Traces some steps of each phase after a warm-up, then counts the FLOPs of one more step.

    Call `before_step(phase)` before each step; it returns whether the tracer slows that step down.
    """

    steps: int = TRACED_STEPS
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    traced_steps: int = 0
    work: dict[str, tuple[float, int]] = field(default_factory=dict)  # FLOPs and images of one step, per phase
    _counts: dict[str, int] = field(default_factory=dict)
    _flops: dict[str, float] = field(default_factory=dict)
    _bytes: dict[str, float] = field(default_factory=dict)
    _profiler: Any = None
    _counter: WorkCounter | None = None
    _phase: str = ""

    def before_step(self, phase: str) -> bool:
        started = time.perf_counter()
        number = self._counts.get(phase, 0)
        self._counts[phase] = number + 1
        if phase != self._phase:
            self.stop()
            self._phase = phase
        if number == WARM_UP_STEPS and self._profiler is None:
            self._start()
        elif number >= WARM_UP_STEPS + self.steps and self._profiler is not None:
            self.stop()
        if number == WARM_UP_STEPS + self.steps and self._counter is None:
            self._counter = WorkCounter()
            self._counter.__enter__()  # type: ignore[no-untyped-call]
        slowed = self._profiler is not None or self._counter is not None
        if slowed:
            self.traced_steps += 1
            self.seconds += time.perf_counter() - started
        return slowed

    def after_step(self, images: int) -> None:
        """End a step; store the FLOPs if they were counted."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            total = sum(self._counter.flops.values())
            if total:
                self.work[self._phase] = (total, images)
            for name, count in self._counter.flops.items():
                self._flops[name] = self._flops.get(name, 0.0) + count
                self._bytes[name] = self._bytes.get(name, 0.0) + self._counter.bytes[name]
            self._counter = None

    @property
    def done(self) -> bool:
        """Whether all steps to trace and count in this phase are done."""
        return self._counts.get(self._phase, 0) > _SETTLED + 1 and self._profiler is None and self._counter is None

    def stop(self) -> None:
        """Stop a running trace and store its events."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._counter = None
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        started = time.perf_counter()
        profiler.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            document = json.loads(path.read_text(encoding="utf-8"))
        base = float(document.get("baseTimeNanoseconds", 0)) / 1e3
        for event in document["traceEvents"]:
            if event.get("ph") == "X" and event.get("cat") in ("cpu_op", "kernel", "gpu_memcpy", "gpu_memset"):
                self.events.append({**event, "ts": base + event["ts"], "args": {}})
        self.seconds += time.perf_counter() - started

    def operators(self) -> tuple[Operator, ...]:
        """Operators of all traced steps; FLOPs and bytes are scaled from the one counted step."""
        found = operators_of(self.events)
        return tuple(
            op.model_copy(
                update={
                    "flops": self._flops.get(op.name, 0.0) * self.steps,
                    "bytes_moved": self._bytes.get(op.name, 0.0) * self.steps,
                }
            )
            for op in found
        )

    def _start(self) -> None:
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with _silent_kineto():
            self._profiler = torch.profiler.profile(activities=kinds)
            self._profiler.start()


def _silence_kineto() -> Callable[[], object]:
    if _KINETO_LEVEL in os.environ:
        return lambda: None
    os.environ[_KINETO_LEVEL] = "99"
    return lambda: os.environ.pop(_KINETO_LEVEL, None)


_silent_kineto = ProcessWide(_silence_kineto)
"""Silences Kineto, the library behind torch's profiler, which otherwise logs to stderr (such as a missing GPU).

Kineto reads its log level when it starts; a level set by the user is kept.
"""


def peak_speed(device: torch.device, dtype: torch.dtype, *, size: int = 1024, repeats: int = 3) -> tuple[float, float]:
    """Peak speed of this machine: FLOP/s of a large matrix product and bytes/s of a large copy, best of a few tries."""
    random = torch.Generator(device)
    left = torch.randn(size, size, generator=random, device=device).to(dtype)
    source = torch.randn(16_000_000, generator=random, device=device)
    target = torch.empty_like(source)
    products, copies = [], []
    for _ in range(repeats + 1):
        products.append(_timed(lambda: left @ left, device))
        copies.append(_timed(lambda: target.copy_(source), device))
    return 2 * size**3 / min(products), 2 * source.numel() * 4 / min(copies)


def _timed(work: Any, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
