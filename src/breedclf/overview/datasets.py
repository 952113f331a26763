"""Datasets that jobs, searches, journeys and models name, or that were given: where they are, and who used them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.backends.common.folder import folders_of_jobs
from breedclf.errors import BreedclfError
from breedclf.files.s3_uri import is_s3
from breedclf.jobs.spec import DATA_CHANNEL, WEIGHTS_CHANNEL
from breedclf.journey.record import JourneyRecord
from breedclf.overview.models import ModelView
from breedclf.overview.parsed_files import read_object
from breedclf.overview.whole_paths import whole_path

MAX_JOURNEYS = 500
_DIGEST_CHARS = 8
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_JOB_BYTES = 4 << 20


@dataclass(frozen=True)
class Use:
    """Something that names a dataset: its kind (job, journey, model or option), its name, and the data as it names it.

    `search` is that of a job; `architecture` and `weights` are those that it used, as flags take them.
    """

    kind: str
    name: str
    data: str
    search: str = ""
    architecture: str = ""
    weights: str = ""


@dataclass(frozen=True)
class DatasetView:
    """A dataset: its key in addresses, where it is, and what uses it, the latest first."""

    key: str
    path: str
    uses: tuple[Use, ...] = ()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2] or self.path

    @property
    def is_remote(self) -> bool:
        """Whether it is in S3."""
        return is_s3(self.path)

    @property
    def is_here(self) -> bool:
        """Whether it is there on this machine."""
        try:
            return not self.is_remote and Path(self.path).exists()
        except (OSError, ValueError):
            return False

    def named(self, kind: str) -> list[str]:
        """The names of what uses it, of a kind, each once."""
        return list(dict.fromkeys(use.name for use in self.uses if use.kind == kind))

    @property
    def searches(self) -> list[str]:
        """The searches whose jobs use it."""
        return list(dict.fromkeys(use.search for use in self.uses if use.search))

    @property
    def review_settings(self) -> list[str]:
        """The flags of a review with the network that was trained on it last, if its weights are known."""
        for use in self.uses:
            if use.architecture and use.weights:
                return ["--architecture", use.architecture, "--weights", use.weights]
        return []

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        uses = [{"kind": use.kind, "name": use.name, "search": use.search or None} for use in self.uses]
        return {"key": self.key, "path": self.path, "uses": uses}


def dataset_views(uses: Iterable[Use]) -> tuple[DatasetView, ...]:
    """The datasets that are named, by name; uses are the latest first.

    Example:
        >>> [view.name for view in dataset_views([Use("job", "a", "/data/dogs"), Use("job", "b", "/data/./dogs/")])]
        ['dogs']
    """
    by_path: dict[str, list[Use]] = {}
    for use in uses:
        if use.data:
            by_path.setdefault(whole_path(use.data), []).append(use)
    views = (DatasetView(key_of(path), path, tuple(found)) for path, found in by_path.items())
    return tuple(sorted(views, key=lambda view: (view.name.casefold(), view.path)))


def key_of(path: str) -> str:
    """The key of a dataset in addresses: its name in plain characters, and a digest of its path.

    Example:
        >>> key_of("/data/my dogs")
        'my-dogs-85e702d0'
    """
    digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:_DIGEST_CHARS]
    name = _PLAIN.sub("-", path.rstrip("/").rpartition("/")[2])[:40].strip("-.")
    return f"{name or 'data'}-{digest}"


@dataclass
class Uses:
    """Finds what uses datasets; what a job was submitted with is read once."""

    _jobs: dict[Path, tuple[int, Use | None]] = field(default_factory=dict)

    def of(self, home: Path, runs: Path, models: Iterable[ModelView], given: Sequence[Path]) -> Iterator[Use]:
        """The uses by jobs in `home`, journeys in `runs`, and models, and the folders that were given."""
        yield from (Use("option", str(path), str(path)) for path in given)
        yield from self._of_jobs(home)
        yield from journey_uses(runs)
        yield from model_uses(models)

    def _of_jobs(self, home: Path) -> Iterator[Use]:
        """The uses by jobs, the latest first."""
        present: dict[Path, tuple[int, Use | None]] = {}
        for folder in folders_of_jobs(home):
            try:
                status = folder.state_file.stat()
            except OSError:
                continue
            known = self._jobs.get(folder.path)
            if (known is not None and known[1] is not None) or (known is not None and known[0] == status.st_mtime_ns):
                present[folder.path] = known
            elif status.st_size <= _MAX_JOB_BYTES:
                present[folder.path] = (status.st_mtime_ns, job_use(folder.name, read_object(folder.state_file)))
        self._jobs = present
        latest = sorted(present.items(), key=lambda each: (each[1][0], each[0].name), reverse=True)
        yield from (use for _, (_, use) in latest if use is not None)


def job_use(name: str, state: Mapping[str, Any] | None) -> Use | None:
    """The dataset of a job, by its stored state; None if it has none, or is damaged."""
    spec = (state or {}).get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("channels"), dict):
        return None
    data = spec["channels"].get(DATA_CHANNEL)
    if not isinstance(data, str) or not data:
        return None
    parameters, tags = spec.get("hyperparameters"), spec.get("tags")
    parameters = parameters if isinstance(parameters, dict) else {}
    search = tags.get("breedclf-tuning", "") if isinstance(tags, dict) else ""
    weights = spec["channels"].get(WEIGHTS_CHANNEL) or parameters.get("weights") or ""
    return Use("job", name, data, str(search), str(parameters.get("architecture", "")), str(weights))


def model_uses(models: Iterable[ModelView]) -> Iterator[Use]:
    """The datasets of all versions of stored models, the newest first."""
    for model in models:
        for version in reversed(model.record.versions if model.record is not None else ()):
            config = version.lineage.config
            if version.lineage.data:
                weights = config.get("weights")
                shown = weights if isinstance(weights, str) else ""
                yield Use("model", model.name, version.lineage.data, "", version.architecture, shown)


def journey_uses(runs: Path) -> Iterator[Use]:
    """The datasets of the journeys in a folder; damaged records are left out."""
    for folder, record in journeys_in(runs):
        check = record.step("check")
        data = None if check is None else check.inputs.get("dataset")
        if isinstance(data, str):
            yield Use("journey", folder.name, data)


def journeys_in(runs: Path) -> Iterator[tuple[Path, JourneyRecord]]:
    """The folders of journeys right below a folder, and what they have done."""
    try:
        folders = sorted(each for each in runs.iterdir() if (each / "journey.json").is_file())
    except OSError:
        return
    for folder in folders[:MAX_JOURNEYS]:
        try:
            yield folder, JourneyRecord.load(folder)
        except BreedclfError:
            continue
