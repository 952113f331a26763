"""The parts of a profile: what was recorded about the job, its steps, the machine, tensors and losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from breedclf.profiling.columns import (
    Amount,
    BoolArray,
    Count,
    Durations,
    FloatArray,
    Floats,
    Ints,
    JsonObject,
    Length,
    Moment,
    Seconds,
    floats,
    ints,
)

PARTS = ("data_wait", "to_device", "forward", "backward", "optimizer")

Source = Literal["breedclf", "foreign loop", "sagemaker", "sagemaker report", "torch trace", "smdebug"]
JobStatus = Literal["Completed", "Failed", "Stopped", "Incomplete", "Unknown"]
SeriesKind = Literal[
    "cpu",  # % of one core
    "memory",  # % of the machine's
    "process_memory",  # bytes, the process and its loader workers
    "gpu",  # %
    "gpu_memory",  # %
    "io_wait",  # % of the time
    "disk_read",  # bytes per second
    "disk_write",
    "network",
    "loader_workers",  # processes
    "threads",  # compute threads, over all processes of the run
]
TensorKind = Literal["weight", "gradient", "activation", "input", "loss"]


def _saved_as(name: str, key: str) -> object:
    """Mark a field whose key in `profile.json` differs from its name, since the file format is older."""
    return Field(validation_alias=AliasChoices(name, key), serialization_alias=key)


class ProfileModel(BaseModel):
    """Base of the parts of a profile: immutable, and strict about unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        serialize_by_alias=True,
    )


class JobInfo(ProfileModel):
    """The profiled run; times are seconds since 1970, durations are in seconds."""

    name: str
    source: Source = "breedclf"
    status: JobStatus = "Completed"
    start: Moment
    end: Moment
    initialization_seconds: Length | None = None
    finalization_seconds: Length | None = None
    device: str = "cpu"
    cores: dict[str, Count] = Field(default_factory=dict, description="usable cores, by node")
    gpus: Count = 0
    threads: Count | None = Field(default=None, description="compute threads of one process")
    settings: JsonObject = Field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.start)

    @property
    def uses_cuda(self) -> bool:
        return self.device.startswith("cuda")


class Steps(ProfileModel):
    """Every step as columns of equal length; times in seconds, `start` since the start of the job.

    A step lasts from the end of the previous step to its own end, so waiting for data is included. `parts` splits the
    duration; parts that weren't timed are absent.
    """

    phases: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    start: Seconds = Field(default_factory=floats)
    duration: Durations = Field(default_factory=floats)
    phase: Ints = Field(default_factory=ints, description="index into phases")
    node: Ints = Field(default_factory=ints, description="index into nodes")
    epoch: Ints = Field(default_factory=ints, description="0 where unknown")
    images: Annotated[Ints, _saved_as("images", "pictures")] = Field(
        default_factory=ints, description="0 where unknown"
    )
    traced: Ints = Field(default_factory=ints, description="1 where the tracer slowed down the step")
    parts: dict[str, Durations] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        columns = {name: getattr(self, name) for name in ("duration", "phase", "node", "epoch", "images", "traced")}
        for name, column in {**columns, **self.parts}.items():
            if len(column) != len(self.start):
                raise ValueError(f"steps: column {name} has {len(column)} values, start has {len(self.start)}")
        for name, labels in (("phase", self.phases), ("node", self.nodes)):
            column = getattr(self, name)
            if len(column) and not (column.min() >= 0 and column.max() < len(labels)):
                raise ValueError(f"steps: column {name} points outside its {len(labels)} names")
        return self

    def __len__(self) -> int:
        return len(self.start)

    @property
    def steady(self) -> BoolArray:
        """True for steps that the tracer didn't slow down."""
        found: BoolArray = self.traced == 0
        return found

    def of(self, phase: str) -> BoolArray:
        """True for the steps of a phase."""
        if phase not in self.phases:
            return np.zeros(len(self), dtype=bool)
        found: BoolArray = self.phase == self.phases.index(phase)
        return found

    def groups(self) -> Iterator[tuple[str, str, BoolArray]]:
        """Yield (node, phase, mask of its steps) for every pair that has steps."""
        for n, node in enumerate(self.nodes):
            for p, phase in enumerate(self.phases):
                mask = (self.node == n) & (self.phase == p)
                if mask.any():
                    yield node, phase, mask


class Spans(ProfileModel):
    """Named intervals of the run: initialization, feature extraction, epochs, finalization; seconds since the start."""

    name: tuple[str, ...] = ()
    start: Seconds = Field(default_factory=floats)
    duration: Durations = Field(default_factory=floats)

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if not len(self.name) == len(self.start) == len(self.duration):
            raise ValueError("spans: columns differ in length")
        return self

    def seconds(self, name: str) -> float:
        """Total duration of the spans with this name, in seconds."""
        return float(sum(d for n, d in zip(self.name, self.duration, strict=True) if n == name))


class Operator(ProfileModel):
    """One operator, totaled over all its calls in the traced steps."""

    name: str
    device: Literal["cpu", "gpu"] = "cpu"
    calls: Count
    self_seconds: Length
    inclusive_seconds: Length
    flops: Amount = 0.0
    bytes_moved: Amount = 0.0


class Loader(ProfileModel):
    """How images are loaded, and how long one takes."""

    workers: Count | None = None
    pin_memory: bool | None = None
    batch_size: Count | None = None
    read_seconds: Length | None = Field(default=None, description="mean time to read the bytes of one image")
    decode_seconds: Length | None = Field(default=None, description="mean time from bytes to pixels")
    transform_seconds: Length | None = Field(default=None, description="mean time from pixels to a tensor")
    images_measured: Annotated[Count, _saved_as("images_measured", "pictures_measured")] = 0


class Series(ProfileModel):
    """One measurement of the machine over time; `time` is in seconds since the start of the job."""

    node: str
    kind: SeriesKind
    name: str
    time: Seconds
    value: Floats

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if len(self.time) != len(self.value):
            raise ValueError(f"series {self.name}: {len(self.time)} times and {len(self.value)} values")
        return self


class System(ProfileModel):
    """CPU, GPU, memory, disk and network usage over time."""

    interval_seconds: Length | None = None
    series: tuple[Series, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.node for series in self.series))

    def of(self, kind: SeriesKind, node: str | None = None) -> list[Series]:
        return [s for s in self.series if s.kind == kind and node in (None, s.node) and len(s.time)]

    def mean(self, kind: SeriesKind, node: str | None = None) -> tuple[FloatArray, FloatArray]:
        """The mean over all series of a kind (such as all cores), at the times of the first one."""
        found = self.of(kind, node)
        if not found:
            return floats(), floats()
        time = found[0].time
        return time, np.mean([np.interp(time, s.time, s.value) for s in found], axis=0)


class TensorSeries(ProfileModel):
    """Statistics of one tensor at intervals of some steps; the tensor itself isn't stored.

    Measures by kind: `mean_abs, zero_share, finite` for all; `std` (before the step) and `change` (relative to the
    last snapshot) for weights; `update_ratio` for gradients (mean |update| over mean |weight|); `inactive_share` (units
    that are zero for all images) and `saturated_share` for activations; `mean, std` for inputs.
    """

    name: str
    kind: TensorKind
    detail: str = Field(default="", description="layer type that rules need: relu, tanh, sigmoid, linear, conv")
    step: Ints
    measures: dict[str, Floats]

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        for name, column in self.measures.items():
            if len(column) != len(self.step):
                raise ValueError(
                    f"tensor {self.name}: measure {name} has {len(column)} values for {len(self.step)} steps"
                )
        return self


class Learning(ProfileModel):
    """Learning curves: the loss of each step, the metrics of each epoch, and the images per class."""

    step: Ints = Field(default_factory=ints)
    step_loss: Floats = Field(default_factory=floats)
    train_loss: Floats = Field(default_factory=floats, description="by epoch")
    valid_loss: Floats = Field(default_factory=floats)
    valid_accuracy: Floats = Field(default_factory=floats)
    class_names: tuple[str, ...] = ()
    class_counts: Ints = Field(default_factory=ints, description="training images per class")
    class_errors: Floats = Field(default_factory=floats, description="error rate of each class, 0 to 1")

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if len(self.step) != len(self.step_loss):
            raise ValueError("learning: step and step_loss differ in length")
        if len(self.class_names) != len(self.class_counts):
            raise ValueError("learning: class_names and class_counts differ in length")
        return self


class Compute(ProfileModel):
    """The work of a step and the measured peak speed of this machine: for the roofline and utilization."""

    flops_per_step: Amount | None = None
    images_per_step: Annotated[Count | None, _saved_as("images_per_step", "pictures_per_step")] = None
    phase: str = ""
    peak_flops_per_second: Amount | None = Field(default=None, description="of a large matrix product, measured here")
    peak_bytes_per_second: Amount | None = Field(default=None, description="of a large copy, measured here")
    precision: str = "fp32"


class Overhead(ProfileModel):
    """The cost of recording, in seconds."""

    timer_seconds_per_step: Length | None = None
    sampler_seconds_per_sample: Length | None = None
    sampler_seconds: Length = 0.0
    tensors_seconds: Length = 0.0
    tensor_snapshots: Annotated[Count, _saved_as("tensor_snapshots", "tensors_looks")] = 0
    tracing_seconds: Length = 0.0
    traced_steps: Count = 0
    traced_step_ratio: Amount | None = Field(default=None, description="median traced step over median other step")
    writing_seconds: Length = 0.0


class Provenance(ProfileModel):
    """The software and machine that wrote this profile."""

    breedclf: str = ""
    python: str = ""
    torch: str = ""
    platform: str = ""
    processor: str = ""
    created: str = ""
    notes: tuple[str, ...] = Field(default=(), description="what couldn't be read or measured")
