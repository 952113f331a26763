"""Records a training run from start to end, and keeps an up-to-date profile on disk."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from breedclf._version import __version__
from breedclf.config import TrainingConfig
from breedclf.errors import TrainingError
from breedclf.profiling.profile import (
    FILE_NAME,
    Compute,
    JobInfo,
    JobStatus,
    Learning,
    Overhead,
    Profile,
    Provenance,
    Source,
    Spans,
    System,
)
from breedclf.profiling.report import write_trace
from breedclf.profiling.rules import Rule
from breedclf.profiling.sampler import Sampler
from breedclf.profiling.step_recorder import StepRecorder
from breedclf.profiling.tensor_watch import TensorWatch
from breedclf.profiling.tracing import Tracer, peak_speed
from breedclf.runtime.machine import available_cores
from breedclf.training.hooks import EpochRecord, TrainingHook, TrainingPlan
from breedclf.training.interruption import was_stopped

WRITING_SHARE = 0.005  # the largest share of the run's time spent on writing intermediate profiles
TRACE_FILE = "trace.json"
log: logging.Logger = logging.getLogger(__name__)
FOLDER = "profile"


@dataclass(frozen=True)
class Recording:
    """What to record in addition to step times and machine usage."""

    trace: bool = False
    tensors: bool = False
    measure_peak: bool = False


FULL = Recording(trace=True, tensors=True, measure_peak=True)
CHEAP = Recording()


class Recorder(TrainingHook):
    """A training hook that records a profile, also of a run that fails.

    Other loops use it as a context manager.

    Args:
        folder: where `profile.json` is written; updated after epochs, so that it survives a crash. By default the
            folder `profile` in the output folder.
        keep: whether to write any files.
        stop_rules: rules checked after each epoch; an issue stops the training.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        keep: bool = True,
        name: str = "training",
        recording: Recording = CHEAP,
        source: Source = "breedclf",
        stop_rules: Sequence[Rule] = (),
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
        sampler: Sampler | None = None,
    ) -> None:
        self.folder = folder
        self._keep = keep
        self.name = name
        self.recording = recording
        self.source: Source = source
        self.stop_rules = stop_rules
        self._clock = clock
        self._origin, self._wall = clock(), wall_clock()
        self._tracer = Tracer() if recording.trace else None
        self._tensors = TensorWatch() if recording.tensors else None
        event = _cuda_event if torch.cuda.is_available() else None
        self.steps: StepRecorder = StepRecorder(
            clock=clock, tracer=self._tracer, tensors=self._tensors, new_event=event
        )
        self.timer: StepRecorder = self.steps
        self.sampler: Sampler = sampler or Sampler(clock=clock)
        self._settings: dict[str, Any] = {}
        self._plan: TrainingPlan | None = None
        self._epochs: list[EpochRecord] = []
        self._status: JobStatus = "Incomplete"
        self._end: float | None = None
        self._peak: tuple[float | None, float | None] = (None, None)
        self._writing = 0.0
        self._timer_seconds = _timer_cost() if recording.measure_peak else None

    def __enter__(self) -> Recorder:
        self.sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        self.finish("Completed") if error is None else self.on_failure(error)

    def on_start(self, plan: TrainingPlan) -> None:
        self.sampler.start()
        self._plan = plan
        if self.folder is None and plan.output is not None:
            self.folder = plan.output / FOLDER
        self._settings = plan.config.to_dict()

    def on_epoch(self, epoch: EpochRecord) -> None:
        self._epochs.append(epoch)
        for rule in self.stop_rules:
            finding = rule(self.profile())
            if finding.status == "issue":
                raise TrainingError(f"stopped by rule {rule.name} after epoch {epoch.epoch}: {finding.evidence}")
        self._write_if_cheap()

    def on_end(self, result: object) -> None:
        del result
        self.finish("Completed")

    def on_failure(self, error: BaseException) -> None:
        self.finish("Stopped" if was_stopped(error) else "Failed")

    def close(self) -> None:
        self.finish("Failed")  # no effect after `on_end` or `on_failure`

    def finish(self, status: JobStatus) -> None:
        """End the recording; later calls have no effect."""
        if self._end is not None:
            return
        self.steps.close_phase()
        self._end, self._status = self._clock(), status
        self.sampler.stop()
        if self._tensors is not None:
            self._tensors.close()
        if self.recording.measure_peak:
            self._peak = peak_speed(torch.device(self._device()), self._dtype())
        if self.folder is not None and self._keep:
            self._write()
            if self.recording.trace:
                self._write_trace()

    def profile(self) -> Profile:
        """Everything recorded so far."""
        end = self._end if self._end is not None else self._clock()
        first, last = self.steps.first, self.steps.last_end
        steps = self.steps.steps(self._origin)
        spans = self.steps.spans(self._origin)
        initialization = None if first is None else first - self._origin
        finalization = None if last is None or self._end is None else end - last
        return Profile(
            job=JobInfo(
                name=self.name,
                source=self.source,
                status=self._status,
                start=self._wall,
                end=self._wall + end - self._origin,
                initialization_seconds=initialization,
                finalization_seconds=finalization,
                device=self._device(),
                cores={self.steps.node: available_cores()},
                gpus=torch.cuda.device_count() if self._device().startswith("cuda") else 0,
                threads=torch.get_num_threads(),
                settings=self._settings,
            ),
            steps=steps,
            spans=_with_ends(spans, initialization, finalization, end - self._origin),
            operators=self._tracer.operators() if self._tracer is not None else (),
            loader=self.steps.loader_profile(),
            system=System(interval_seconds=self.sampler.interval, series=self.sampler.series(self._origin)),
            tensors=self._tensors.series() if self._tensors is not None else (),
            learning=self._learning(),
            compute=self._compute(),
            overhead=self._overhead(steps.duration, steps.traced == 1, steps.phase),
            provenance=Provenance(
                breedclf=__version__,
                python=platform.python_version(),
                torch=torch.__version__,
                platform=platform.platform(terse=True),
                processor=platform.processor() or platform.machine(),
                created=datetime.fromtimestamp(self._wall, UTC).isoformat(timespec="seconds"),
                notes=tuple(self.sampler.notes),
            ),
        )

    @property
    def operator_events(self) -> list[dict[str, Any]]:
        """Operator events of the traced steps, for `trace.json`."""
        return self._tracer.events if self._tracer is not None else []

    def _device(self) -> str:
        if self._plan is not None:
            return self._plan.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self._plan is not None and self._plan.precision == "bf16" else torch.float32

    def _learning(self) -> Learning:
        losses = self.steps.step_losses
        labels = self._plan.labels if self._plan is not None else ()
        counts = self._plan.class_counts if self._plan is not None else ()
        return Learning(
            step=np.array([step for step, _ in losses], dtype=np.int64),
            step_loss=np.array([loss for _, loss in losses], dtype=np.float64),
            train_loss=np.array([epoch.train_loss for epoch in self._epochs]),
            valid_loss=np.array([epoch.valid_loss for epoch in self._epochs]),
            valid_accuracy=np.array([epoch.valid_accuracy for epoch in self._epochs]),
            class_names=labels if len(labels) == len(counts) else (),
            class_counts=np.array(counts if len(labels) == len(counts) else (), dtype=np.int64),
        )

    def _compute(self) -> Compute:
        work = self._tracer.work if self._tracer is not None else {}
        if not work:
            return Compute()
        phase = max(work, key=lambda name: work[name][0])
        return Compute(
            flops_per_step=work[phase][0],
            images_per_step=work[phase][1],
            phase=phase,
            peak_flops_per_second=self._peak[0],
            peak_bytes_per_second=self._peak[1],
            precision=self._plan.precision if self._plan is not None else "fp32",
        )

    def _overhead(self, duration: Any, traced: Any, phase: Any) -> Overhead:
        ratios = []
        for number in np.unique(phase):
            slow, usual = duration[traced & (phase == number)], duration[~traced & (phase == number)]
            if len(slow) and len(usual):
                ratios.append(float(np.median(slow) / max(np.median(usual), 1e-9)))
        tensors, tracer, sampler = self._tensors, self._tracer, self.sampler
        return Overhead(
            timer_seconds_per_step=self._timer_seconds,
            sampler_seconds_per_sample=sampler.seconds / sampler.samples if sampler.samples else None,
            sampler_seconds=sampler.seconds,
            tensors_seconds=tensors.seconds if tensors is not None else 0.0,
            tensor_snapshots=tensors.snapshots if tensors is not None else 0,
            tracing_seconds=tracer.seconds if tracer is not None else 0.0,
            traced_steps=int(traced.sum()),
            traced_step_ratio=max(ratios) if ratios else None,
            writing_seconds=self._writing,
        )

    def _write_if_cheap(self) -> None:
        """Write the profile in case of a crash, unless that would take too much of the run's time."""
        if self.folder is None or not self._keep:
            return
        now = self._clock()
        if now - self._origin >= self._writing / WRITING_SHARE:
            self._write()

    def _write_trace(self) -> None:
        assert self.folder is not None
        try:
            write_trace(self.profile(), self.folder / TRACE_FILE, self.operator_events)
        except OSError as error:
            log.warning("the trace can't be written to %s: %s", self.folder, error)

    def _write(self) -> None:
        assert self.folder is not None
        started = self._clock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.profile().save(self.folder / FILE_NAME)
        except OSError as error:
            # The training must not fail, and its own error must not be hidden, if the profile can't be written.
            log.warning("the profile can't be written to %s: %s", self.folder, error)
        self._writing += self._clock() - started


def _with_ends(spans: Spans, initialization: float | None, finalization: float | None, end: float) -> Spans:
    names, starts, durations = list(spans.name), spans.start.tolist(), spans.duration.tolist()
    if initialization is not None:
        names, starts, durations = ["initialization", *names], [0.0, *starts], [initialization, *durations]
    if finalization is not None:
        names, starts = [*names, "finalization"], [*starts, end - finalization]
        durations = [*durations, finalization]
    return Spans(name=tuple(names), start=np.array(starts), duration=np.array(durations))


def _cuda_event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _timer_cost(steps: int = 2_000) -> float:
    """Measure how many seconds it takes to time one step on this machine."""
    timer = StepRecorder()
    timer.phase("train")
    started = time.perf_counter()
    for _ in range(steps):
        timer.lap("data_wait")
        timer.lap("forward")
        timer.lap("backward")
        timer.lap("optimizer")
        timer.step(32)
    return (time.perf_counter() - started) / steps


def recorders_of(config: TrainingConfig) -> list[Recorder]:
    """Training hooks that record a profile into `OUTPUT/profile` as configured; none with `profile="off"`."""
    if config.profile == "off":
        return []
    recording = FULL if config.profile == "full" else CHEAP
    name = os.environ.get("TRAINING_JOB_NAME") or config.output.name or "training"
    return [Recorder(name=name, recording=recording)]
