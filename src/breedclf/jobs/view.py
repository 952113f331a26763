"""What a notebook shows of a job or an endpoint: one snapshot, or only its name if that takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from breedclf.errors import BreedclfError
from breedclf.jobs.endpoints import EndpointDescription, EndpointSpec
from breedclf.jobs.status import JobDescription
from breedclf.reporting import formats
from breedclf.reporting.blocks import Column, facts, table
from breedclf.reporting.notebook import notebook_view

T = TypeVar("T")

PATIENCE_SECONDS = 3.0


def job_view(name: str, backend: str, describe: Callable[[], JobDescription]) -> str:
    """The HTML of a `Job`; `describe` is called once."""
    heading, found = f"Job {name} on {backend}", _soon(describe)
    if isinstance(found, str):
        return notebook_view(heading, found)
    pairs: list[tuple[str, object]] = [("status", f"{found.status} ({found.secondary_status})")]
    if found.failure_reason:
        pairs.append(("failure reason", found.failure_reason))
    if found.started is not None:
        pairs.append(("started", _time(found.started)))
    if found.seconds is not None:
        pairs.append(("duration", formats.seconds(found.seconds)))
    columns: list[Column | str] = ["metric", Column("last value", numeric=True, format=formats.plain)]
    metrics = [table("", columns, sorted(found.metrics.items()))] if found.metrics else []
    return notebook_view(heading, facts(pairs), *metrics)


def endpoint_view(name: str, backend: str, describe: Callable[[], EndpointDescription]) -> str:
    """The HTML of an `Endpoint`; `describe` is called once."""
    heading, found = f"Endpoint {name} on {backend}", _soon(describe)
    if isinstance(found, str):
        return notebook_view(heading, found)
    pairs: list[tuple[str, object]] = [("status", found.status), ("created", _time(found.created))]
    if found.url:
        pairs.append(("URL", found.url))
    if found.expires is not None:
        pairs.append(("deleted at", _time(found.expires)))
    if found.failure_reason:
        pairs.append(("failure reason", found.failure_reason))
    return notebook_view(heading, facts(pairs))


def deployment_view(spec: EndpointSpec, backend: str) -> str:
    """The HTML of a `Deployment`."""
    pairs: list[tuple[str, object]] = [
        ("model", str(spec.artifact)),
        ("engine", f"{spec.engine.name}, {spec.engine.precision}"),
    ]
    if spec.ttl_seconds is not None:
        pairs.append(("deleted after", formats.seconds(spec.ttl_seconds)))
    if spec.idle_seconds is not None:
        pairs.append(("deleted when idle for", formats.seconds(spec.idle_seconds)))
    return notebook_view(f"Deployment {spec.name} on {backend}", facts(pairs))


def _soon(describe: Callable[[], T]) -> T | str:
    """The description, or why there is none; a service that doesn't respond must not block a notebook."""
    found: list[T | str] = []

    def ask() -> None:
        try:
            found.append(describe())
        except BreedclfError as error:
            found.append(str(error))
        except Exception as error:  # noqa: BLE001 - shown in place of the description
            found.append(f"It can't be described: {type(error).__name__}: {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return found[0] if found else f"Its backend didn't respond within {PATIENCE_SECONDS:g} seconds."


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
