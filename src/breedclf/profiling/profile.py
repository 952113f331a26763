"""What was recorded of one run: a versioned model that every source fills and every rule and page reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from breedclf.errors import ProfileError
from breedclf.files.disk import write_whole
from breedclf.files.paths import user_path
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
from breedclf.profiling.reported import RuleReport

SCHEMA_VERSION = 1
FILE_NAME = "profile.json"
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
    "disk_read",  # bytes a second
    "disk_write",
    "network",
    "loader_workers",  # processes
    "threads",  # that compute, over all processes of the run
]
TensorKind = Literal["weight", "gradient", "activation", "input", "loss"]


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


class _Model(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )


class JobInfo(_Model):
    """Which run it was; times are seconds since 1970, durations seconds."""

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
    threads: Count | None = Field(default=None, description="threads of one process that computes")
    settings: JsonObject = Field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.start)

    @property
    def uses_cuda(self) -> bool:
        return self.device.startswith("cuda")


class Steps(_Model):
    """Every step as columns of equal length; times in seconds, `start` since the start of the job.

    A step's duration runs from the end of the one before to its own end, so that waiting for data is part of it.
    `parts` splits it; a part nobody timed is absent.
    """

    phases: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    start: Seconds = Field(default_factory=floats)
    duration: Durations = Field(default_factory=floats)
    phase: Ints = Field(default_factory=ints, description="index into phases")
    node: Ints = Field(default_factory=ints, description="index into nodes")
    epoch: Ints = Field(default_factory=ints, description="0 where unknown")
    pictures: Ints = Field(default_factory=ints, description="0 where unknown")
    traced: Ints = Field(default_factory=ints, description="1 where the tracer slowed the step down")
    parts: dict[str, Durations] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        columns = {name: getattr(self, name) for name in ("duration", "phase", "node", "epoch", "pictures", "traced")}
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
        """True for steps whose time counts: not slowed down by the tracer."""
        found: BoolArray = self.traced == 0
        return found

    def of(self, phase: str) -> BoolArray:
        """True for the steps of a phase."""
        if phase not in self.phases:
            return np.zeros(len(self), dtype=bool)
        found: BoolArray = self.phase == self.phases.index(phase)
        return found

    def groups(self) -> Iterator[tuple[str, str, BoolArray]]:
        """(node, phase, which steps), for every pair that has steps."""
        for n, node in enumerate(self.nodes):
            for p, phase in enumerate(self.phases):
                mask = (self.node == n) & (self.phase == p)
                if mask.any():
                    yield node, phase, mask


class Spans(_Model):
    """Named stretches of the run: initialization, feature extraction, epochs, finalization. Seconds since the start."""

    name: tuple[str, ...] = ()
    start: Seconds = Field(default_factory=floats)
    duration: Durations = Field(default_factory=floats)

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if not len(self.name) == len(self.start) == len(self.duration):
            raise ValueError("spans: columns differ in length")
        return self

    def seconds(self, name: str) -> float:
        """Total of the spans of this name."""
        return float(sum(d for n, d in zip(self.name, self.duration, strict=True) if n == name))


class Operator(_Model):
    """One operator over the traced steps; seconds are totals over its calls."""

    name: str
    device: Literal["cpu", "gpu"] = "cpu"
    calls: Count
    self_seconds: Length
    inclusive_seconds: Length
    flops: Amount = 0.0
    bytes_moved: Amount = 0.0


class Loader(_Model):
    """How pictures reached the loop, and what one of them cost."""

    workers: Count | None = None
    pin_memory: bool | None = None
    batch_size: Count | None = None
    read_seconds: Length | None = Field(default=None, description="mean, one picture's bytes from disk")
    decode_seconds: Length | None = Field(default=None, description="mean, bytes to pixels")
    transform_seconds: Length | None = Field(default=None, description="mean, pixels to a tensor")
    pictures_measured: Count = 0


class Series(_Model):
    """One measured quantity of the machine over time, seconds since the start of the job."""

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


class System(_Model):
    """Samples of the machine."""

    interval_seconds: Length | None = None
    series: tuple[Series, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.node for series in self.series))

    def of(self, kind: SeriesKind, node: str | None = None) -> list[Series]:
        return [s for s in self.series if s.kind == kind and node in (None, s.node) and len(s.time)]

    def mean(self, kind: SeriesKind, node: str | None = None) -> tuple[FloatArray, FloatArray]:
        """Times and the mean over all series of a kind (all cores, say), on the times of the first of them."""
        found = self.of(kind, node)
        if not found:
            return floats(), floats()
        time = found[0].time
        return time, np.mean([np.interp(time, s.time, s.value) for s in found], axis=0)


class TensorSeries(_Model):
    """Reductions of one tensor, taken every so many steps; the tensor itself is never kept.

    Measures by kind: `mean_abs, zero_share, finite` for all; `std` (before the step) and `change` (relative, since the
    last look) for weights; `update_ratio` for gradients (mean |update| over mean |weight|); `inactive_share` (units
    that are silent for every picture) and `saturated_share` for activations; `mean, std` for inputs.
    """

    name: str
    kind: TensorKind
    detail: str = Field(default="", description="what it is, where rules ask: relu, tanh, sigmoid, linear, conv")
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


class Learning(_Model):
    """What was learned when: the loss of single steps, the measures of epochs, the pictures of classes."""

    step: Ints = Field(default_factory=ints)
    step_loss: Floats = Field(default_factory=floats)
    train_loss: Floats = Field(default_factory=floats, description="by epoch")
    valid_loss: Floats = Field(default_factory=floats)
    valid_accuracy: Floats = Field(default_factory=floats)
    class_names: tuple[str, ...] = ()
    class_counts: Ints = Field(default_factory=ints, description="training pictures, by class")
    class_errors: Floats = Field(default_factory=floats, description="share of a class that was named wrongly")

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if len(self.step) != len(self.step_loss):
            raise ValueError("learning: step and step_loss differ in length")
        if len(self.class_names) != len(self.class_counts):
            raise ValueError("learning: class_names and class_counts differ in length")
        return self


class Compute(_Model):
    """What a step computes and what this machine could: for the roofline and the share of its speed in use."""

    flops_per_step: Amount | None = None
    pictures_per_step: Count | None = None
    phase: str = ""
    peak_flops_per_second: Amount | None = Field(default=None, description="of a large matrix product, measured here")
    peak_bytes_per_second: Amount | None = Field(default=None, description="of a large copy, measured here")
    precision: str = "fp32"


class Overhead(_Model):
    """What recording itself cost; seconds."""

    timer_seconds_per_step: Length | None = None
    sampler_seconds_per_sample: Length | None = None
    sampler_seconds: Length = 0.0
    tensors_seconds: Length = 0.0
    tensors_looks: Count = 0
    tracing_seconds: Length = 0.0
    traced_steps: Count = 0
    traced_step_ratio: Amount | None = Field(default=None, description="median traced step over median other step")
    writing_seconds: Length = 0.0


class Provenance(_Model):
    """What wrote this profile, and on what."""

    breedclf: str = ""
    python: str = ""
    torch: str = ""
    platform: str = ""
    processor: str = ""
    created: str = ""
    notes: tuple[str, ...] = Field(default=(), description="what couldn't be read or measured, in words")


class Profile(_Model):
    """One run, from any source.

    Example:
        >>> profile = Profile(job=JobInfo(name="demo", start=0.0, end=2.0))
        >>> profile.job.seconds
        2.0
    """

    schema_version: int = SCHEMA_VERSION
    job: JobInfo
    steps: Steps = Steps()
    spans: Spans = Spans()
    operators: tuple[Operator, ...] = ()
    loader: Loader = Loader()
    system: System = System()
    tensors: tuple[TensorSeries, ...] = ()
    learning: Learning = Learning()
    compute: Compute = Compute()
    overhead: Overhead = Overhead()
    reported: tuple[RuleReport, ...] = Field(default=(), description="what SageMaker's own rules wrote down")
    provenance: Provenance = Provenance()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.steps.nodes, *self.system.nodes, *self.job.cores)))

    def to_json(self) -> str:
        unused = {"reported"} if not self.reported else None  # earlier versions refuse fields that they don't know
        return json.dumps(self.model_dump(mode="json", exclude=unused), separators=(",", ":"), allow_nan=False)

    def save(self, path: str | Path) -> Path:
        """Write `profile.json` (into `path` when it is a folder), whole or not at all."""
        path = user_path(path, "path")
        if path.is_dir():
            path = path / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.to_json())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a `profile.json`, or the one in a folder.

        Raises:
            ProfileError: it is missing, cut short, not a profile, or of a newer schema.
        """
        path = user_path(path, "path")
        if path.is_dir():
            path = path / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"profile {path} can't be read: {error}") from error
        return cls.from_json(text, name=str(path))

    @classmethod
    def from_json(cls, text: str, *, name: str = FILE_NAME) -> Self:
        """Read a profile's text; `name` is what an error calls it."""
        try:
            values = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            what = "is empty" if not text.strip() else f"is cut short or not JSON ({error})"
            raise ProfileError(f"profile {name} {what}: profile the run again") from error
        if not isinstance(values, dict) or "schema_version" not in values or "job" not in values:
            raise ProfileError(f"{name} is JSON but no profile of breedclf: it has no schema_version and job")
        version = values["schema_version"]
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ProfileError(f"profile {name} has schema_version {version!r}, which is no version")
        if version > SCHEMA_VERSION:
            raise ProfileError(
                f"profile {name} has schema {version}, written by a newer breedclf; this one reads up to "
                f"{SCHEMA_VERSION}: upgrade breedclf"
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ProfileError(f"profile {name} is damaged at {place or 'its top'}: {first['msg']}") from error
