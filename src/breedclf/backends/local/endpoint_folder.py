"""A local endpoint's folder: the order of its users, the reports of its supervisor, and copies of its models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from breedclf.backends.common.folder import ProcessValues
from breedclf.backends.common.model_files import copy_model_files
from breedclf.errors import ConfigError, EndpointError
from breedclf.files.disk import refusal, write_atomic
from breedclf.files.typed import Moment, typed
from breedclf.jobs.endpoints import DEFAULT_ENGINE, EndpointDescription, EndpointStatus

FORMAT_VERSION = 1
Parsed = TypeVar("Parsed")

_ROLLED_BACK = re.compile(r"update \d+ was rolled back: ")


@dataclass(frozen=True)
class Order:
    """What users want: the model's generation, the end, and whether to delete the endpoint. Only users write it."""

    name: str
    generation: int
    created: Moment
    expires: Moment | None
    idle_seconds: float | None
    parent: ProcessValues | None
    port: int
    engine: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_ENGINE.to_dict())
    delete: bool = False


@dataclass(frozen=True)
class _State:
    """The content of `endpoint.json`."""

    description: EndpointDescription
    supervisor: ProcessValues


@dataclass(frozen=True)
class EndpointFolder:
    """`<home>/endpoints/<name>`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def lock_file(self) -> Path:
        """Locked while the order is changed."""
        return self.path.parent / f".{self.path.name}.lock"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def activity_file(self) -> Path:
        """Its modification time is the time of the last request."""
        return self.path / "activity"

    def model(self, generation: int) -> Path:
        """The folder of the endpoint's own copy of a model."""
        return self.path / "models" / str(generation)

    def copy_model(self, generation: int, artifact: Path) -> None:
        """Copy a model directory, so that changes to the original don't affect the endpoint.

        Raises:
            EndpointError: it can't be copied.
        """
        target = self.model(generation)
        try:
            target.mkdir(parents=True, exist_ok=True)
            copy_model_files(artifact, target)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise EndpointError(f"the model {artifact} can't be copied to {target}: {refusal(error)}") from error

    def delete_models(self, *, except_for: set[int]) -> None:
        """Delete all copies but these generations."""
        for folder in (self.path / "models").iterdir():
            if folder.name.isdigit() and int(folder.name) not in except_for:
                shutil.rmtree(folder, ignore_errors=True)

    def read_order(self) -> Order | None:
        """The order; None when the folder is gone.

        Raises:
            EndpointError: the file is damaged.
        """
        return self._read("order.json", Order)

    def write_order(self, order: Order) -> None:
        write_atomic(self.path / "order.json", json.dumps(asdict(order), indent=2) + "\n")

    def read_state(self) -> tuple[EndpointDescription, ProcessValues] | None:
        """The last reported description and the supervisor's process; None before the first report.

        Raises:
            EndpointError: the file is damaged.
        """
        state = self._read("endpoint.json", _State)
        return None if state is None else (_with_rolled_back(state.description), state.supervisor)

    def _read(self, name: str, kind: type[Parsed]) -> Parsed | None:
        file = self.path / name
        try:
            return typed(kind, json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            raise EndpointError(
                f"{file} is damaged ({error}); `breedclf endpoints delete {self.name}` deletes it"
            ) from error

    def write_state(self, description: EndpointDescription, supervisor: Mapping[str, Any]) -> None:
        values = {"version": FORMAT_VERSION, "description": description.to_dict(), "supervisor": dict(supervisor)}
        write_atomic(self.path / "endpoint.json", json.dumps(values, indent=2) + "\n")

    def last_activity(self, created: float) -> float:
        """The time of the last request, or the creation time before any request."""
        try:
            return self.activity_file.stat().st_mtime
        except FileNotFoundError:
            return created

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def reason_to_end(order: Order | None, *, now: float, last_activity: float, is_parent_alive: bool) -> str | None:
    """Why an endpoint has to end; None if it doesn't."""
    if order is None or order.delete:
        return "deleted"
    if not is_parent_alive:
        return "the process that deployed it has ended"
    if order.expires is not None and now >= order.expires:
        return "its time to live (ttl) has passed"
    if order.idle_seconds is not None and now - last_activity >= order.idle_seconds:
        return f"no request for {order.idle_seconds:g} seconds"
    return None


def _with_rolled_back(description: EndpointDescription) -> EndpointDescription:
    """Set `rolled_back` in descriptions of versions that marked it by the failure reason alone."""
    is_rolled_back = _ROLLED_BACK.match(description.failure_reason or "") is not None
    return replace(description, rolled_back=True) if is_rolled_back else description


def failed(description: EndpointDescription, reason: str) -> EndpointDescription:
    """The description of an endpoint that has failed."""
    return replace(description, status=EndpointStatus.FAILED, failure_reason=reason)
