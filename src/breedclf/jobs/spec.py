"""`JobSpec`: everything that a backend needs to run one job, checked against a job's limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from breedclf.config.hyperparameters import MAX_HYPERPARAMETERS, check_hyperparameter
from breedclf.errors import ConfigError
from breedclf.files.paths import user_path
from breedclf.files.s3_uri import is_s3, whole_uri
from breedclf.files.typed import typed
from breedclf.jobs.metric_lines import TRAINING_METRICS, MetricDefinition, check_definitions
from breedclf.jobs.names import check_name

MAX_FAILURE_REASON_CHARS = 1_024
DATA_CHANNEL = "training"
LABELS_CHANNEL = "labels"
WEIGHTS_CHANNEL = "weights"
MODEL_CHANNEL = "model"  # the name that SageMaker's own algorithms use for a model to continue
CODE_CHANNEL = "code"
RESULT_FILE = "result.json"  # in a run's output: what its history and its model don't hold
DEFAULT_MAX_RUNTIME_SECONDS = 86_400

_CHANNEL = re.compile(r"[A-Za-z0-9_]{1,64}")
_HYPERPARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_SECRET = re.compile(
    r"secret|passw|passphrase|credential|token|api_?key|access_?key|private_?key|(^|_)(auth|pwd)(_|$)", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True)
class JobSpec:
    """Everything that a backend needs to run one job.

    Args:
        channels: folders or files that the job reads, by name; on SageMaker also S3 URIs (see `remote_address`).
        source: a folder with your own `train.py`, instead of the breedclf bundle.
        modules: Python files and package folders of your own that the breedclf bundle includes, by name.
        max_runtime_seconds: the job is stopped after this many seconds.
        cores: CPU cores that the job needs on this machine; the backend decides if None.
        gpus: the same for GPUs.
        cache_dir: a folder kept between jobs; used by backends on this machine, ignored by others.
        spot: the job may be interrupted and restarted; its checkpoints are kept.

    Raises:
        ConfigError: a name, the number of hyperparameters or a value exceeds a job's limits, or a hyperparameter looks
            like a secret, which everyone with access to the job could read.

    Example:
        >>> JobSpec(name="my-job", hyperparameters={"epochs": "2"}).max_runtime_seconds
        86400
    """

    name: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, Path] = field(default_factory=dict)
    source: Path | None = None
    metric_definitions: tuple[MetricDefinition, ...] = TRAINING_METRICS.definitions
    environment: Mapping[str, str] = field(default_factory=dict)
    max_runtime_seconds: float = DEFAULT_MAX_RUNTIME_SECONDS
    cores: int | None = None
    gpus: int | None = None
    cache_dir: Path | None = None
    spot: bool = False
    modules: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        self._set("channels", {name: user_path(path, f"channel {name!r}") for name, path in self.channels.items()})
        self._set("modules", {name: user_path(path, f"module {name!r}") for name, path in self.modules.items()})
        for name in ("source", "cache_dir"):
            if (path := getattr(self, name)) is not None:
                self._set(name, user_path(path, name))
        _check_hyperparameters(self.hyperparameters)
        _refuse_secrets("environment variable", self.environment)
        check_definitions(self.metric_definitions)
        for channel in self.channels:
            if not _CHANNEL.fullmatch(channel):
                raise ConfigError(f"channel name {channel!r}: use 1 to 64 letters, digits and _")
            if channel == CODE_CHANNEL:
                raise ConfigError(f"channel name {channel!r} is reserved for the job's own code; choose another")
        if not self.max_runtime_seconds > 0:
            raise ConfigError(f"max_runtime_seconds={self.max_runtime_seconds}: give a job more than 0 seconds")
        for name, count, least in (("cores", self.cores, 1), ("gpus", self.gpus, 0)):
            if count is not None and count < least:
                raise ConfigError(f"{name}={count}: must be at least {least}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like a new one."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values["channels"] = {name: whole_uri(path) for name, path in self.channels.items()}
        values["modules"] = {name: str(path) for name, path in self.modules.items()}
        values["source"] = None if self.source is None else str(self.source)
        values["cache_dir"] = None if self.cache_dir is None else str(self.cache_dir)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError or ConfigError if a part is missing or wrong."""
        return typed(cls, values)


def remote_address(path: Path) -> str | None:
    """The S3 URI that a path represents, or None for one on this machine: `Path` collapses the double slash.

    Example:
        >>> remote_address(Path("s3://mine/dogs")), remote_address(Path("dogs"))
        ('s3://mine/dogs', None)
    """
    return whole_uri(path) if is_s3(path) else None


def require_here(channel: str, path: Path) -> None:
    """Check a channel for backends that read it on this machine.

    Raises:
        ConfigError: the channel isn't on this machine.
    """
    if (uri := remote_address(path)) is not None:
        raise ConfigError(f"channel {channel}: {uri} is in S3, which only a job on SageMaker reads; fetch it first")
    if not path.exists():
        raise ConfigError(f"channel {channel}: {path} is not there")


def is_weights_channel(name: str) -> bool:
    """Whether a channel has the file of pretrained weights, or one of them in a search over several networks."""
    return name == WEIGHTS_CHANNEL or name.startswith(f"{WEIGHTS_CHANNEL}_")


def iterate_lines(parts: Iterator[str]) -> Iterator[str]:
    """Whole lines without line ends, from text cut anywhere; the last line may lack its end."""
    rest = ""
    for part in parts:
        *lines, rest = (rest + part).split("\n")
        yield from lines
    if rest:
        yield rest


def _check_hyperparameters(pairs: Mapping[str, str]) -> None:
    if len(pairs) > MAX_HYPERPARAMETERS:
        raise ConfigError(f"{len(pairs)} hyperparameters: a job takes at most {MAX_HYPERPARAMETERS}")
    for name, value in pairs.items():
        if not _HYPERPARAMETER.fullmatch(name):
            raise ConfigError(f"hyperparameter name {name!r}: use letters, digits and _; the first can't be a digit")
        if not isinstance(value, str):
            raise ConfigError(
                f"hyperparameter {name}={value!r}: a job takes text; use TrainingConfig.to_hyperparameters"
            )
        check_hyperparameter(name, value)
    _refuse_secrets("hyperparameter", pairs)


def _refuse_secrets(kind: str, pairs: Mapping[str, str]) -> None:
    suspects = [name for name, value in pairs.items() if _SECRET.search(name) or _SECRET_VALUE.search(value)]
    if suspects:
        raise ConfigError(
            f"{kind} {', '.join(sorted(suspects))} looks like a secret, and everyone who may see the job could read "
            "it; rename it, or let the job read the secret from a file or a secrets manager"
        )
