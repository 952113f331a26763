"""A local endpoint's folder: what its users order, what its supervisor reports, and the models it has served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from breedclf.backends.common.folder import ProcessValues
from breedclf.errors import ConfigError, EndpointError
from breedclf.files.disk import refusal, write_atomic
from breedclf.files.typed import Moment, typed
from breedclf.jobs.endpoints import DEFAULT_ENGINE, EndpointDescription, EndpointStatus

FORMAT_VERSION = 1
Made = TypeVar("Made")

MODEL_FILES = ("breedclf.json", "model.safetensors")


@dataclass(frozen=True)
class Order:
    """What users want: which generation of the model, until when, and whether at all. Only users write it."""

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
    """What `endpoint.json` holds."""

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
        """Held while an order is changed."""
        return self.path.parent / f".{self.path.name}.lock"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def activity_file(self) -> Path:
        """Its time is that of the last request."""
        return self.path / "activity"

    def model(self, generation: int) -> Path:
        """The folder with the endpoint's own copy of a model."""
        return self.path / "models" / str(generation)

    def keep_model(self, generation: int, artifact: Path) -> None:
        """Copy a model folder, so that nobody changes it under the endpoint.

        Raises:
            EndpointError: it can't be copied.
        """
        target = self.model(generation)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for name in MODEL_FILES:
                shutil.copyfile(artifact / name, target / name)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise EndpointError(f"the model {artifact} can't be copied to {target}: {refusal(error)}") from error

    def forget_models(self, *, keep: set[int]) -> None:
        """Delete the copies that nobody needs any more."""
        for folder in (self.path / "models").iterdir():
            if folder.name.isdigit() and int(folder.name) not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    def read_order(self) -> Order | None:
        """What is wanted; None when the folder is gone.

        Raises:
            EndpointError: the file is damaged.
        """
        return self._read("order.json", Order)

    def write_order(self, order: Order) -> None:
        write_atomic(self.path / "order.json", json.dumps(asdict(order), indent=2) + "\n")

    def read_state(self) -> tuple[EndpointDescription, ProcessValues] | None:
        """What the supervisor reported last, and who it is; None when there is nothing.

        Raises:
            EndpointError: the file is damaged.
        """
        state = self._read("endpoint.json", _State)
        return None if state is None else (state.description, state.supervisor)

    def _read(self, name: str, kind: type[Made]) -> Made | None:
        file = self.path / name
        try:
            return typed(kind, json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            raise EndpointError(
                f"{file} can't be read: it is damaged ({error}); `breedclf endpoints delete {self.name}` forgets it"
            ) from error

    def write_state(self, description: EndpointDescription, supervisor: Mapping[str, Any]) -> None:
        values = {"version": FORMAT_VERSION, "description": description.to_dict(), "supervisor": dict(supervisor)}
        write_atomic(self.path / "endpoint.json", json.dumps(values, indent=2) + "\n")

    def last_activity(self, created: float) -> float:
        """When something was asked last, or else when it all began."""
        try:
            return self.activity_file.stat().st_mtime
        except FileNotFoundError:
            return created

    def remove(self) -> None:
        """Forget the endpoint."""
        shutil.rmtree(self.path, ignore_errors=True)


def reason_to_end(order: Order | None, *, now: float, last_activity: float, parent_lives: bool) -> str | None:
    """Why an endpoint must go, if it must."""
    if order is None or order.delete:
        return "deleted"
    if not parent_lives:
        return "the process that deployed it has ended"
    if order.expires is not None and now >= order.expires:
        return "its time (ttl) is over"
    if order.idle_seconds is not None and now - last_activity >= order.idle_seconds:
        return f"nobody asked it anything for {order.idle_seconds:g} seconds"
    return None


def failed(description: EndpointDescription, reason: str) -> EndpointDescription:
    """The description of an endpoint that has failed."""
    values = {**description.to_dict(), "status": EndpointStatus.FAILED, "failure_reason": reason}
    return EndpointDescription(**values)
