"""Endpoints on any backend: their specification, their state, and the Protocols of backends that serve."""

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

PRECISIONS: dict[str, tuple[str, ...]] = {
    "torch": ("auto", "fp32", "bf16"),
    "openvino": ("auto", "fp32", "bf16", "int8"),
}


class EndpointStatus(StrEnum):
    """The status of an endpoint, in SageMaker's words; compares equal to the plain string."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    ROLLING_BACK = "RollingBack"
    DELETING = "Deleting"
    FAILED = "Failed"


@dataclass(frozen=True)
class EngineChoice:
    """The inference engine of an endpoint.

    `torch` supports fp32 and bf16; `openvino` (the extra of that name) fp32, bf16 and int8. `auto` is bf16 where the
    hardware is faster in it. For int8 the network is calibrated on the valid split of `calibration`, an image folder,
    and refused if its accuracy there drops by more than `max_accuracy_drop` (0 to 1).

    Raises:
        ConfigError: the engine or the precision is unknown, or the calibration is missing.

    Example:
        >>> EngineChoice("openvino", precision="int8")
        Traceback (most recent call last):
        ...
        breedclf.errors.ConfigError: precision=int8 needs calibration, an image folder with a valid split
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
            raise ConfigError("precision=int8 needs calibration, an image folder with a valid split")
        if self.precision != "int8" and self.calibration is not None:
            raise ConfigError(f"calibration is for precision=int8, not for {self.precision}")
        if not 0 < self.max_accuracy_drop < 1:
            raise ConfigError(f"max_accuracy_drop={self.max_accuracy_drop}: choose a share between 0 and 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "calibration": None if self.calibration is None else str(self.calibration.resolve())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError or ConfigError if a part is missing or wrong."""
        return typed(cls, values)

    def flags(self) -> list[str]:
        """The engine as flags of a command that serves."""
        given = [f"--engine={self.name}", f"--precision={self.precision}"]
        if self.calibration is not None:
            given += [f"--calibration={self.calibration.resolve()}", f"--max-accuracy-drop={self.max_accuracy_drop}"]
        return given


DEFAULT_ENGINE = EngineChoice()


@dataclass(frozen=True)
class EndpointSpec:
    """Everything that a backend needs to run one endpoint.

    `artifact` is the model directory. The endpoint is deleted `ttl_seconds` after its creation started, after
    `idle_seconds` without requests, or at the end of this process unless `detach` is set; on SageMaker, endpoints
    always outlive the process.

    Raises:
        ConfigError: the name or a number of seconds is invalid.
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
        for name, seconds in (("ttl_seconds", self.ttl_seconds), ("idle_seconds", self.idle_seconds)):
            if seconds is not None and not seconds > 0:
                raise ConfigError(f"{name}={seconds}: give an endpoint more than 0 seconds")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port={self.port}: choose one from 1 to 65535, or 0 for any that is free")


@dataclass(frozen=True)
class EndpointDescription:
    """A snapshot of an endpoint; times are seconds since 1970 (UTC).

    `generation` counts the models it has served, from 1; `failure_reason` is why it failed, or why the last update
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
        """The inverse of `to_dict`; ValueError if a part is missing or wrong."""
        return typed(cls, values)


@runtime_checkable
class ServingBackend(Protocol):
    """Runs endpoints. They are identified by name, and every method may be called from any process of the user.

    Methods that take a name raise EndpointError if there is no such endpoint. `create_endpoint` and `update_endpoint`
    return at once; `describe_endpoint` reports their progress.
    """

    @property
    def name(self) -> str:
        """The name that selects this backend, such as "local"."""

    def create_endpoint(self, spec: EndpointSpec) -> None:
        """Start to serve a model; ConfigError if the name is taken."""

    def describe_endpoint(self, name: str) -> EndpointDescription:
        """A snapshot of the endpoint."""

    def list_endpoints(self) -> list[EndpointDescription]:
        """All endpoints, oldest first."""

    def update_endpoint(self, name: str, artifact: Path) -> int:
        """Start to replace the model and return the new generation; the old model serves until the new one does."""

    def delete_endpoint(self, name: str) -> None:
        """Delete the endpoint, once it has answered the requests that it accepted."""

    def invoke_endpoint(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        """Send a request to the model and return its response (JSON, or JSON lines for several images).

        `attributes` are SageMaker's custom attributes, such as `explain=1`: at most 1,024 visible ASCII characters.

        Raises:
            ModelError: the model's server refused it.
            EndpointError: there is no response in time.
        """


@runtime_checkable
class TransformBackend(Protocol):
    """A backend that can predict many images with a batch job, without an endpoint."""

    def transform_images(
        self, artifact: Path, images: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """The server's response (JSON), or the error, for each (name, file) of an image, in order.

        Raises:
            EndpointError: there is no response at all.
        """


@runtime_checkable
class BackendOfThisMachine(Protocol):
    """A backend whose endpoints run on this machine, where many images can be predicted without one."""

    @property
    def serves_on_this_machine(self) -> bool:
        """Whether they do."""


@dataclass(frozen=True)
class EndpointTerms:
    """The limits of a backend's endpoints.

    Args:
        poll_seconds: the minimum time between two polls of an endpoint.
        start_seconds: default timeout for a start or an update.
        end_seconds: default timeout for a deletion.
        max_body_bytes: the maximum size of a request.
    """

    poll_seconds: float = 0.1
    start_seconds: float = 600.0
    end_seconds: float = 60.0
    max_body_bytes: int = 6 << 20


@runtime_checkable
class LimitedServingBackend(Protocol):
    """A backend whose endpoints have limits of their own."""

    @property
    def endpoint_terms(self) -> EndpointTerms:
        """The limits."""


def terms_of(backend: ServingBackend) -> EndpointTerms:
    """The backend's own limits, or the default ones."""
    return backend.endpoint_terms if isinstance(backend, LimitedServingBackend) else EndpointTerms()


def artifact_of(model: object) -> Path:
    """The model directory of a path, a job, a `FitResult` or a classifier.

    Raises:
        ConfigError: it is none of these.
    """
    found = getattr(model, "artifact", model)
    if not isinstance(found, (str, os.PathLike)):
        raise ConfigError(f"expected a model directory, a job, a FitResult or a classifier, not {type(model).__name__}")
    return user_path(found, "model")
