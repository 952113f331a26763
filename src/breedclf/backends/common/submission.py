"""What all backends on this machine do before a job starts: check its inputs, and show the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.backends.common.bundle import Bundle, source_bundle
from breedclf.backends.common.folder import JobFolder
from breedclf.jobs import JobSpec, require_here


def checked_source(spec: JobSpec) -> Bundle | None:
    """Check the job's inputs, and read its source; None for a job that runs breedclf itself.

    Raises:
        ConfigError: a channel isn't on this machine, or the source has no train.py.
    """
    for channel, path in spec.channels.items():
        require_here(channel, path)
    return None if spec.source is None else source_bundle(spec.source)


def job_request(folder: JobFolder, spec: JobSpec, environment: Mapping[str, str]) -> dict[str, Any]:
    """The request as plain values for `request_for`: what the job reads and where it runs."""
    return {
        "name": spec.name,
        "folder": str(folder.path),
        "environment": dict(environment),
        "hyperparameters": dict(spec.hyperparameters),
        "channels": {name: str(path) for name, path in spec.channels.items()},
        "metric_definitions": [{"Name": each.name, "Regex": each.regex} for each in spec.metric_definitions],
        "max_runtime_seconds": spec.max_runtime_seconds,
    }
