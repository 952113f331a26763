"""The emulator's records, one JSON file each in its home, so that they survive a restart."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.backends.emulator.protocol import ACCOUNT, ServiceError
from breedclf.files.disk import write_atomic

Record = dict[str, Any]
_DEFAULT_PAGE, _LARGEST_PAGE = 10, 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")  # valid names of files; no record has another name


@dataclass(frozen=True)
class Kind:
    """A kind of record: its folder, its part of ARNs, and AWS's errors for a missing and an existing one."""

    folder: str
    arn_word: str  # with the service before it, where that isn't SageMaker
    missing: tuple[str, str] = ("ValidationException", "Requested resource not found.")
    taken: tuple[str, str] = ("ResourceInUse", "{arn} already exists.")


def _served(folder: str, arn_word: str, words: str) -> Kind:
    return Kind(
        folder,
        arn_word,
        missing=("ValidationException", f'Could not find {words} "{{arn}}".'),
        taken=("ValidationException", f'Cannot create already existing {words} "{{arn}}".'),
    )


TRAINING = Kind(
    "training-jobs",
    "training-job",
    taken=(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        "already exists ({arn})",
    ),
)
TUNING = Kind(
    "tuning-jobs",
    "hyper-parameter-tuning-job",
    missing=("ResourceNotFound", "Amazon SageMaker can't find a tuning job with the name {name}."),
    taken=(
        "ResourceInUse",
        "Hyper parameter tuning job names must be unique within an AWS account and region, and a tuning job with this "
        "name already exists ({arn})",
    ),
)
TRANSFORM = Kind(
    "transform-jobs",
    "transform-job",
    missing=("ResourceNotFound", "Could not find transform job with name: {name}."),
    taken=("ResourceInUse", "Transform job names must be unique within an AWS account and region ({arn})"),
)
MODEL = _served("models", "model", "model")
CONFIG = _served("endpoint-configs", "endpoint-config", "endpoint configuration")
ENDPOINT = _served("endpoints", "endpoint", "endpoint")
PACKAGE_GROUP = Kind(
    "model-package-groups",
    "model-package-group",
    missing=("ValidationException", "ModelPackageGroup {arn} does not exist."),
    taken=("ValidationException", "Model Package Group already exists: {arn}"),
)
PIPELINE = Kind(
    "pipelines",
    "pipeline",
    missing=("ResourceNotFound", "Pipeline '{arn}' does not exist."),
    taken=(
        "ValidationException",
        "Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists.",
    ),
)
EXECUTION = Kind("pipeline-executions", "pipeline-execution")
SCHEDULE = Kind(
    "schedules",
    "scheduler:schedule/default",
    missing=("ResourceNotFoundException", "Schedule {name} does not exist."),
    taken=("ConflictException", "Schedule {name} already exists."),
)
KINDS = (TRAINING, TUNING, TRANSFORM, MODEL, CONFIG, ENDPOINT, PACKAGE_GROUP, PIPELINE)


@dataclass
class Store:
    """Records by kind and name; each has `name`, `arn`, `region`, `created`, `modified`, `tags`, `request`."""

    root: Path
    clock: Callable[[], float]
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, kind: Kind, name: str, region: str, request: Mapping[str, Any], **fields: Any) -> Record:
        """Store a new record.

        Raises:
            ServiceError: the name is taken.
        """
        now = self.clock()
        record = {"name": name, "arn": arn_of(kind, name, region), "region": region, "created": now, "modified": now}
        tags = {each["Key"]: each["Value"] for each in request.get("Tags", ())}
        record |= {"request": dict(request), "tags": tags, **fields}
        with self._lock:
            if self._file(kind, name).exists():
                code, message = kind.taken
                raise ServiceError(code, message.format(arn=record["arn"], name=name))
            self._write(kind, name, record)
        return record

    def find(self, kind: Kind, name: str) -> Record | None:
        """The record, or None."""
        if not _NAME.fullmatch(name):
            return None
        try:
            found: Record = json.loads(self._file(kind, name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def get(self, kind: Kind, name: str, region: str) -> Record:
        """The record.

        Raises:
            ServiceError: there is none.
        """
        record = self.find(kind, name)
        if record is None or record["region"] != region:
            code, message = kind.missing
            raise ServiceError(code, message.format(arn=arn_of(kind, name, region), name=name))
        return record

    def change(self, kind: Kind, name: str, **changes: Any) -> Record | None:
        """Change fields of a record and return it; None when it was deleted."""
        with self._lock:
            record = self.find(kind, name)
            if record is None:
                return None
            record |= {"modified": self.clock(), **changes}
            self._write(kind, name, record)
            return record

    def all(self, kind: Kind, region: str | None = None) -> list[Record]:
        """All records of a kind, or those of one region, oldest first."""
        folder = self.root / kind.folder
        files = [path for path in folder.iterdir() if path.suffix == ".json"] if folder.is_dir() else []
        found = [record for path in files if (record := self.find(kind, path.stem)) is not None]
        chosen = [record for record in found if region is None or record["region"] == region]
        return sorted(chosen, key=lambda record: (record["created"], record["name"]))

    def delete(self, kind: Kind, name: str) -> None:
        """Delete a record."""
        with self._lock:
            self._file(kind, name).unlink(missing_ok=True)

    def _file(self, kind: Kind, name: str) -> Path:
        return self.root / kind.folder / f"{name}.json"

    def _write(self, kind: Kind, name: str, record: Record) -> None:
        file = self._file(kind, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(record))


def arn_of(kind: Kind, name: str, region: str) -> str:
    """The ARN in the emulator's account."""
    service, _, word = kind.arn_word.rpartition(":")
    return f"arn:aws:{service or 'sagemaker'}:{region}:{ACCOUNT}:{word}/{name}"


def page(items: Sequence[Any], request: Mapping[str, Any], key: str) -> dict[str, Any]:
    """One page of a listing, with the token of the next page if there is one.

    Raises:
        ServiceError: the token is invalid.
    """
    start = 0
    if token := request.get("NextToken"):
        try:
            start = max(0, int(base64.urlsafe_b64decode(token).decode().removeprefix("at-")))
        except ValueError:
            raise ServiceError("ValidationException", "Invalid pagination token") from None
    end = start + min(request.get("MaxResults", _DEFAULT_PAGE), _LARGEST_PAGE)
    answer: dict[str, Any] = {key: list(items[start:end])}
    if end < len(items):
        answer["NextToken"] = base64.urlsafe_b64encode(f"at-{end}".encode()).decode()
    return answer


def selected(
    summaries: Sequence[dict[str, Any]],
    request: Mapping[str, Any],
    *,
    name: str,
    status: str | None = None,
    sort_by: str = "CreationTime",
    order: str = "Descending",
) -> list[dict[str, Any]]:
    """The summaries that match a listing's filters, in the requested or default order."""
    matching = [each for each in summaries if _matches(each, request, name, status)]
    keys = {"Name": name, "Status": status or name, "CreationTime": "CreationTime"}
    key = keys.get(request.get("SortBy", sort_by), "CreationTime")
    matching.sort(key=lambda each: (each[key], each["CreationTime"]))
    return matching if request.get("SortOrder", order) == "Ascending" else matching[::-1]


def _matches(summary: Mapping[str, Any], request: Mapping[str, Any], name: str, status: str | None) -> bool:
    created = summary["CreationTime"]
    modified = summary.get("LastModifiedTime", created)
    endless = float("inf")
    return (
        request.get("NameContains", "") in summary[name]
        and (status is None or request.get("StatusEquals", summary[status]) == summary[status])
        and request.get("CreationTimeAfter", -1) < created < request.get("CreationTimeBefore", endless)
        and request.get("LastModifiedTimeAfter", -1) < modified < request.get("LastModifiedTimeBefore", endless)
    )
