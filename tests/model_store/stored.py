"""Model directories of a few bytes, and endpoints whose state is a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from breedclf import ModelStore
from breedclf.errors import EndpointError
from breedclf.files.disk import write_atomic
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec, EndpointStatus
from breedclf.model_store.folder import StoreFolder

METRICS = {"valid_loss": 0.25, "valid_accuracy": 0.75}


def write_model(folder: Path, content: bytes = b"weights", **card: Any) -> Path:
    """A model directory that can be stored and served by `FileEndpoints`, but has no network."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    values = {
        "schema_version": 1,
        "architecture": "resnet18",
        "labels": ["cat", "dog"],
        "class_names": ["Cat", "Dog"],
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "breedclf_version": "0.1.0",
        "data_fingerprint": "3651da52",
        "metrics": METRICS,
        "training": {"data": "dogImages", "epochs": 2, "learning_rate": 0.005},
        **card,
    }
    (folder / "breedclf.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class FileEndpoints:
    """Endpoints in a folder: a file says which model each of them serves.

    `stops_before` and `stops_after` raise KeyboardInterrupt at that point of an update, as Ctrl-C or a kill would.
    """

    folder: Path
    name: str = "files"
    refuses: bytes | None = None
    stops_before: bool = False
    stops_after: bool = False

    def create_endpoint(self, spec: EndpointSpec) -> None:
        description = EndpointDescription(spec.name, EndpointStatus.IN_SERVICE, 1.0, generation=1)
        self._write(description, (spec.artifact / "model.safetensors").read_bytes())

    def served(self, name: str) -> bytes:
        """The weights that the endpoint answers with."""
        return bytes.fromhex(self._read(name)["weights"])

    def describe_endpoint(self, name: str) -> EndpointDescription:
        return EndpointDescription.from_dict(self._read(name)["description"])

    def list_endpoints(self) -> list[EndpointDescription]:
        return [self.describe_endpoint(file.stem) for file in self.folder.glob("*.json")]

    def update_endpoint(self, name: str, artifact: Path) -> int:
        if self.stops_before:
            raise KeyboardInterrupt
        now, weights = self.describe_endpoint(name), (artifact / "model.safetensors").read_bytes()
        generation = now.generation + 1
        if weights == self.refuses:
            reason = f"update {generation} was rolled back: other predictions"
            self._write(replace(now, failure_reason=reason, rolled_back=True), self.served(name))
            return generation
        self._write(replace(now, generation=generation, failure_reason=None, rolled_back=False), weights)
        if self.stops_after:
            raise KeyboardInterrupt
        return generation

    def set_status(self, name: str, status: EndpointStatus, reason: str | None = None) -> None:
        self._write(replace(self.describe_endpoint(name), status=status, failure_reason=reason), self.served(name))

    def delete_endpoint(self, name: str) -> None:
        self._read(name)
        (self.folder / f"{name}.json").unlink()

    def invoke_endpoint(
        self, name: str, body: bytes, *, content_type: str, timeout_seconds: float = 60, attributes: str = ""
    ) -> bytes:
        raise NotImplementedError

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise EndpointError(f"there is no endpoint {name!r}") from error
        return found

    def _write(self, description: EndpointDescription, weights: bytes) -> None:
        values = {"description": description.to_dict(), "weights": weights.hex()}
        write_atomic(self.folder / f"{description.name}.json", json.dumps(values))


def check_whole(path: Path) -> None:
    """Every record can be read, and each version and alias has all of its files, unchanged."""
    folder, store = StoreFolder(path), ModelStore(path)
    for name in store.names:
        record = store.record(name)
        numbers = [version.version for version in record.versions]
        assert len({*numbers}) == len(numbers)
        assert {*record.aliases.values()} <= {*numbers}
        for version in record.versions:
            folder.check_object(version.digest)
