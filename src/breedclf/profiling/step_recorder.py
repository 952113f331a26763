"""Times the parts of every step with little overhead: one clock reading per part, appended to columns."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn
from torch.optim import Optimizer

from breedclf.profiling.profile import PARTS, Loader, Spans, Steps
from breedclf.profiling.tensor_watch import TensorWatch
from breedclf.profiling.tracing import Tracer
from breedclf.runtime.timers import StepTimer

HOST_PARTS = ("data_wait",)  # measured on the host; the other parts run on the device


class StepRecorder(StepTimer):
    """Records the timer calls of a training run; a step lasts from the end of the previous step to its own end.

    Args:
        clock: returns monotonic seconds.
        new_event: creates CUDA events; if given, parts are measured in device time, resolved after each phase.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        tracer: Tracer | None = None,
        tensors: TensorWatch | None = None,
        new_event: Callable[[], Any] | None = None,
        node: str = "local",
    ) -> None:
        self.node = node
        self.tracer = tracer
        self.tensors = tensors
        self.first: float | None = None
        self.last_end: float | None = None
        self.step_losses: list[tuple[int, float]] = []
        self._clock = clock
        self._new_event = new_event
        self._marks: list[tuple[int, str, Any]] = []
        self._start, self._duration = array("d"), array("d")
        self._phase_column, self._epoch_column = array("q"), array("q")
        self._images, self._traced = array("q"), array("b")
        self._parts = {part: array("d") for part in PARTS}
        self._now = dict.fromkeys(PARTS, 0.0)
        self._phases: list[str] = []
        self._spans: list[tuple[str, float, float]] = []
        self._counts: dict[str, int] = {}  # steps done per phase, where steps are watched
        self._phase, self._epoch, self._phase_start, self._phase_step = 0, 0, 0.0, 0
        self._step_start = self._last = clock()
        self._excluded = 0.0
        self._watching = tracer is not None or tensors is not None
        self._snapshot_due = self._slowed = False
        self._loaded = [0.0, 0.0, 0.0, 0.0]
        self._loader = Loader()

    def __len__(self) -> int:
        return len(self._start)

    def phase(self, name: str, epoch: int = 0) -> None:
        self.close_phase()
        if name not in self._phases:
            self._phases.append(name)
        self._phase, self._epoch, self._phase_step = self._phases.index(name), epoch, len(self)
        self._now = dict.fromkeys(PARTS, 0.0)  # laps since the last step belong to no step of this phase
        self._prepare()
        self._step_start = self._last = self._phase_start = self._clock()
        if self.first is None:
            self.first = self._step_start

    def lap(self, part: str) -> None:
        now = self._clock()
        self._now[part] += now - self._last
        self._last = now
        if self._new_event is not None:
            self._mark(part)
        if self._snapshot_due:
            self._take_snapshot(part)

    def step(self, images: int) -> None:
        now = self._clock()
        self._start.append(self._step_start)
        self._duration.append(now - self._step_start - self._excluded)
        self._phase_column.append(self._phase)
        self._epoch_column.append(self._epoch)
        self._images.append(images)
        self._traced.append(self._slowed)
        current = self._now
        for part, column in self._parts.items():
            column.append(current[part])
            current[part] = 0.0
        self._step_start = self._last = now
        if self._watching:
            self._after_step(images)

    def losses(self, values: Sequence[float]) -> None:
        self.step_losses += [(len(self.step_losses) + i, float(value)) for i, value in enumerate(values)]

    def loading(self, images: int, read: float, decode: float, transform: float) -> None:
        self._loaded = [a + b for a, b in zip(self._loaded, (images, read, decode, transform), strict=True)]

    def loader(self, workers: int, batch_size: int, pin_memory: bool) -> None:
        self._loader = Loader(workers=workers, batch_size=batch_size, pin_memory=pin_memory)

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        if self.tensors is not None:
            self.tensors.watch(module, optimizer)

    def close_phase(self) -> None:
        """End the phase: store it as a span, and resolve device times."""
        if self.tracer is not None:
            self.tracer.stop()
        self._resolve()
        if len(self) > self._phase_step:
            self.last_end = self._start[-1] + self._duration[-1]
            name = self._phases[self._phase]
            label = {"features": "feature extraction", "train": "epoch", "valid": "validation"}.get(name, name)
            self._spans.append((label, self._phase_start, self.last_end))
            self._phase_step = len(self)

    def steps(self, origin: float) -> Steps:
        """All steps so far; `start` is relative to `origin` on the clock."""
        n = len(self._traced)
        parts = {part: _column(column, n) for part, column in self._parts.items()}
        return Steps(
            phases=tuple(self._phases),
            nodes=(self.node,),
            start=_column(self._start, n) - origin,
            duration=_column(self._duration, n),
            phase=np.array(self._phase_column[:n], dtype=np.int64),
            node=np.zeros(n, dtype=np.int64),
            epoch=np.array(self._epoch_column[:n], dtype=np.int64),
            images=np.array(self._images[:n], dtype=np.int64),
            traced=np.array(self._traced[:n], dtype=np.int64),
            parts={part: column for part, column in parts.items() if column.any()},
        )

    def spans(self, origin: float) -> Spans:
        return Spans(
            name=tuple(name for name, _, _ in self._spans),
            start=np.array([start - origin for _, start, _ in self._spans]),
            duration=np.array([end - start for _, start, end in self._spans]),
        )

    def loader_profile(self) -> Loader:
        """Loader settings, with the mean times of one image if they were measured."""
        images, read, decode, transform = self._loaded
        if not images:
            return self._loader
        return self._loader.model_copy(
            update={
                "read_seconds": read / images,
                "decode_seconds": decode / images,
                "transform_seconds": transform / images,
                "images_measured": int(images),
            }
        )

    def _prepare(self) -> None:
        name = self._phases[self._phase]
        self._excluded = 0.0
        self._slowed = self.tracer.before_step(name) if self.tracer is not None else False
        self._snapshot_due = False
        if self.tensors is not None and name != "valid":
            self._snapshot_due = self.tensors.due(self._counts.get(name, 0))
        elif self.tensors is not None:
            self.tensors.pause()

    def _after_step(self, images: int) -> None:
        if self.tracer is not None:
            self.tracer.after_step(images)
        name = self._phases[self._phase]
        self._counts[name] = self._counts.get(name, 0) + 1
        self._prepare()
        self._step_start = self._last = self._clock()

    def _take_snapshot(self, part: str) -> None:
        assert self.tensors is not None
        if part == "backward":
            self.tensors.after_backward()
        elif part == "optimizer":
            self.tensors.after_optimizer()
            self._snapshot_due = False
        now = self._clock()
        self._excluded += now - self._last
        self._last = now

    def _mark(self, part: str) -> None:
        assert self._new_event is not None
        event = self._new_event()
        event.record()
        self._marks.append((len(self), part, event))

    def _resolve(self) -> None:
        """Replace host times with device times between two marks of one step."""
        if self._marks:
            self._marks[-1][2].synchronize()
        for (step, _, before), (same, part, event) in pairwise(self._marks):
            if step == same and part not in HOST_PARTS and step < len(self):
                self._parts[part][step] = before.elapsed_time(event) / 1e3
        for step in {step for step, *_ in self._marks if step < len(self)}:
            self._clip_to_step(step)
        self._marks.clear()

    def _clip_to_step(self, step: int) -> None:
        """Make the parts add up to at most the step: the device works while the host waits, and may lag behind.

        Waiting only counts while the device is idle; device time beyond the step is scaled down.
        """
        duration = self._duration[step]
        work = sum(column[step] for part, column in self._parts.items() if part not in HOST_PARTS)
        for part, column in self._parts.items():
            if part in HOST_PARTS:
                column[step] = min(column[step], max(0.0, duration - work))
            elif work > duration:
                column[step] *= duration / work


def _column(column: array[float], count: int) -> Any:
    return np.array(column[:count], dtype=np.float64)
