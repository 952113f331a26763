"""An endpoint on any back end: what is asked for, what is known about it, and what a back end must do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from breedclf.errors import ConfigError, EndpointError
from breedclf.files.paths import user_path
from breedclf.files.typed import Moment, typed
from breedclf.jobs import check_name

PRECISIONS = {"torch": ("auto", "fp32", "bf16"), "openvino": ("auto", "fp32", "bf16", "int8")}


class EndpointStatus(StrEnum):
    """Where an endpoint is, in SageMaker's words; compares equal to the plain word."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    ROLLING_BACK = "RollingBack"
    DELETING = "Deleting"
    FAILED = "Failed"


@dataclass(frozen=True)
class EngineChoice:
    """What computes an endpoint's answers.

    `torch` takes fp32 or bf16; `openvino` (the extra of that name) fp32, bf16 or int8. `auto` is bf16 where the
    hardware has it. For int8 the network is calibrated on the valid split of `calibration`, a folder as a training
    takes it, and refused when its accuracy there is lower by more than `max_accuracy_drop` (0 to 1).

    Raises:
        ConfigError: there is no such engine or precision, or the calibration is missing.

    Example:
        >>> EngineChoice("openvino", precision="int8")
        Traceback (most recent call last):
        ...
        breedclf.errors.ConfigError: precision=int8 needs calibration, a folder of pictures with a valid split
    """

    name: str = "torch"
    precision: str = "auto"
    calibration: Path | None = None
    max_accuracy_drop: float = 0.01

    def __post_init__(self) -> None:
        if self.calibration is not None:
            object.__setattr__(self, "calibration", user_path(self.calibration, "calibration"))
        if self.name not in PRECISIONS:
            raise ConfigError(f"engine={self.name!r}: use {' or '.join(PRECISIONS)}")
        if self.precision not in PRECISIONS[self.name]:
            raise ConfigError(
                f"precision={self.precision!r}: engine {self.name} computes in {', '.join(PRECISIONS[self.name])}"
            )
        if self.precision == "int8" and self.calibration is None:
            raise ConfigError("precision=int8 needs calibration, a folder of pictures with a valid split")
        if self.precision != "int8" and self.calibration is not None:
            raise ConfigError(f"calibration is for precision=int8, not for {self.precision}")
        if not 0 < self.max_accuracy_drop < 1:
            raise ConfigError(f"max_accuracy_drop={self.max_accuracy_drop}: choose a share between 0 and 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "calibration": None if self.calibration is None else str(self.calibration.resolve())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; ValueError or ConfigError where a part is missing or wrong."""
        return typed(cls, values)

    def flags(self) -> list[str]:
        """The same as flags of a command line that serves."""
        given = [f"--engine={self.name}", f"--precision={self.precision}"]
        if self.calibration is not None:
            given += [f"--calibration={self.calibration.resolve()}", f"--max-accuracy-drop={self.max_accuracy_drop}"]
        return given


DEFAULT_ENGINE = EngineChoice()


@dataclass(frozen=True)
class EndpointSpec:
    """Everything that a back end needs to run one endpoint.

    `artifact` is the model folder. The endpoint goes away `ttl_seconds` after its creation began, or after
    `idle_seconds` without a request, or with this process unless `detach` is set; on SageMaker, which knows no such
    bond, `detach` is the rule.

    Raises:
        ConfigError: the name or a time is outside of its limits.
    """

    name: str
    artifact: Path
    ttl_seconds: float | None = None
    idle_seconds: float | None = None
    detach: bool = False
    port: int = 0
    engine: EngineChoice = DEFAULT_ENGINE

    def __post_init__(self) -> None:
        check_name(self.name)
        for name, seconds in (("ttl", self.ttl_seconds), ("idle_timeout", self.idle_seconds)):
            if seconds is not None and not seconds > 0:
                raise ConfigError(f"{name}={seconds}: give an endpoint more than 0 seconds")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port={self.port}: choose one from 1 to 65535, or 0 for any that is free")


@dataclass(frozen=True)
class EndpointDescription:
    """What a back end knows about an endpoint; times are seconds since 1970 (UTC).

    `generation` counts the models it has served, from 1; `failure_reason` tells why it failed, or why the last update
    was rolled back.
    """

    name: str
    status: EndpointStatus
    created: Moment
    url: str | None = None
    generation: int = 0
    expires: Moment | None = None
    failure_reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    rolled_back: bool = False
    """Whether the last update was rolled back, so that the previous model answers."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; ValueError where a part is missing or wrong."""
        return typed(cls, values)


@runtime_checkable
class ServingBackend(Protocol):
    """Where endpoints run. They are known by name, and every method may be called from any process of the user.

    One whose endpoints need other patience or smaller requests than usual has an attribute `endpoint_terms`.
    Methods that take a name raise EndpointError when there is no such endpoint. `create_endpoint` and
    `update_endpoint` return at once; `describe_endpoint` tells how it goes on.
    """

    @property
    def name(self) -> str:
        """The word that selects this back end."""

    def create_endpoint(self, spec: EndpointSpec) -> None:
        """Begin to serve a model; ConfigError when the name is taken."""

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """What is known about the endpoint now."""

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints, the oldest first."""

    def update_endpoint(self, name: str, artifact: Path) -> int:
        """Begin to replace the model and return the new generation; the old model answers until the new one does."""

    def delete_endpoint(self, name: str) -> None:
        """Take the endpoint down, once it has answered what it took."""

    def invoke_endpoint(self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60) -> bytes:
        """Send a request to the model and return its answer (JSON, or JSON lines for several pictures).

        Raises:
            ModelError: the model's server refused it.
            EndpointError: there is no answer in time.
        """


@runtime_checkable
class TransformBackend(Protocol):
    """A back end that predicts many pictures by a job that ends, without an endpoint."""

    def transform_images(
        self, artifact: Path, pictures: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """The server's answer (JSON), or what is known of a failure, for each (name, file) of a picture, in order.

        Raises:
            EndpointError: there is not a single answer.
        """


@dataclass(frozen=True)
class EndpointTerms:
    """What a back end asks of who uses its endpoints: patience, and requests that aren't too large.

    Args:
        poll_seconds: the least time between two looks at an endpoint.
        start_seconds: how long one may take to come up, or to change its model, unless told otherwise.
        end_seconds: the same for going down.
        max_body_bytes: the largest request.
    """

    poll_seconds: float = 0.1
    start_seconds: float = 600.0
    end_seconds: float = 60.0
    max_body_bytes: int = 6 << 20


def terms_of(backend: ServingBackend) -> EndpointTerms:
    """The back end's `endpoint_terms`, or the usual ones where it has none."""
    terms: EndpointTerms = getattr(backend, "endpoint_terms", EndpointTerms())
    return terms


def artifact_of(model: object) -> Path:
    """The model folder of a path, a job, a training's result or a classifier.

    Raises:
        ConfigError: it is none of these.
    """
    found = getattr(model, "artifact", model)
    if not isinstance(found, (str, os.PathLike)):
        raise ConfigError(f"a model folder, a job or a training's result is wanted, not {type(model).__name__}")
    return user_path(found, "model")
