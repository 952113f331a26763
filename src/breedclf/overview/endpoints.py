"""Endpoints as lists and pages show them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.api.deployment import serving_backend
from breedclf.errors import BreedclfError
from breedclf.jobs import Backend
from breedclf.jobs.endpoint_activity import EndpointActivity, EndpointCost, MeasuredBackend, PricedBackend
from breedclf.jobs.endpoints import (
    BackendOfThisMachine,
    EndpointDescription,
    EndpointStatus,
    ServingBackend,
    terms_of,
)
from breedclf.model_store.store import ModelStore
from breedclf.overview.lists import Described

_HERE = re.compile(r"http://127\.0\.0\.1:\d{1,5}")
_ABOUT_SECONDS, _MAX_ABOUT_BYTES = 2.0, 64 << 10
_SERVES = (EndpointStatus.IN_SERVICE, EndpointStatus.UPDATING, EndpointStatus.ROLLING_BACK)


@dataclass(frozen=True)
class StoredModel:
    """The version of a model in the store that an endpoint serves; `version` is 0 if it isn't known."""

    name: str
    version: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "version": self.version}


@dataclass(frozen=True)
class EndpointView(Described[EndpointDescription]):
    """An endpoint, the requests of its last hour, what it costs, and its model in the store, as far as each is known.

    `problems` say why something that should be known isn't.
    """

    activity: EndpointActivity | None = None
    cost: EndpointCost | None = None
    model: StoredModel | None = None
    problems: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether it answers requests."""
        return self.description.status in _SERVES

    @property
    def engine(self) -> str:
        """The engine and its precision; empty if they aren't known."""
        return str(self.description.details.get("engine") or "")

    @property
    def idle_ends(self) -> float | None:
        """When it ends without requests, in seconds since 1970; None if requests don't matter or it has ended."""
        seconds = self.description.details.get("idle_seconds")
        if not isinstance(seconds, int | float) or self.description.status is EndpointStatus.FAILED:
            return None
        last = None if self.activity is None else self.activity.last_request
        return (self.description.created if last is None else last) + seconds

    def to_dict(self) -> dict[str, Any]:
        """The document of `breedclf endpoints list --json` and of `/api/endpoints`."""
        return {
            **self.description.to_dict(),
            "idle_ends": self.idle_ends,
            "activity": None if self.activity is None else self.activity.to_dict(),
            "cost": None if self.cost is None else self.cost.to_dict(),
            "model": None if self.model is None else self.model.to_dict(),
        }


@dataclass(frozen=True)
class AboutModel:
    """What a page must know to explain answers; the limits of known images are {} where the endpoint doesn't say."""

    max_body_bytes: int
    limits: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The document of `/api/endpoints/NAME/about`."""
        known = {"explains": True, **self.limits}
        return {**known, "token_required": False, "max_body_bytes": self.max_body_bytes}


def endpoint_views(backend: Backend | ServingBackend, store: Path | None = None) -> tuple[EndpointView, ...]:
    """All endpoints of a backend, oldest first; with the requests of those on this machine.

    Raises:
        BreedclfError: the backend can't be asked.
    """
    if not isinstance(backend, ServingBackend):
        return ()
    models = _models(backend, store)
    here = isinstance(backend, BackendOfThisMachine) and backend.serves_on_this_machine
    return tuple(_view(backend, each, models, measured=here, priced=False) for each in backend.list_endpoints())


def endpoint_view(backend: Backend | ServingBackend, name: str, store: Path | None = None) -> EndpointView:
    """One endpoint with everything that is known of it.

    Raises:
        EndpointError: there is no such endpoint.
        BreedclfError: the backend can't be asked.
    """
    serving = serving_backend(backend)
    return _view(serving, serving.describe_endpoint(name), _models(serving, store), measured=True, priced=True)


def rows(endpoints: Iterable[EndpointView], now: float) -> list[tuple[str, ...]]:
    """The rows of `breedclf endpoints list`."""
    return [
        (
            each.name,
            each.status,
            each.description.url or "-",
            _minutes(each.description.expires, now),
            each.description.failure_reason or "",
        )
        for each in endpoints
    ]


def about_model(backend: ServingBackend, url: str | None) -> AboutModel:
    """What an endpoint says of its model, if it can be asked on this machine."""
    limits = _about(url) if url is not None and _HERE.fullmatch(url) else {}
    given = limits.get("max_body_bytes")
    allowed = terms_of(backend).max_body_bytes
    return AboutModel(min(allowed, given) if isinstance(given, int) else allowed, limits)


def _view(
    backend: ServingBackend,
    description: EndpointDescription,
    models: Mapping[str, StoredModel],
    *,
    measured: bool,
    priced: bool,
) -> EndpointView:
    name, problems = description.name, list[str]()

    def asked(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except BreedclfError as error:
            problems.append(str(error))
            return None

    activity = cost = None
    if measured and isinstance(backend, MeasuredBackend):
        activity = asked(lambda: backend.endpoint_activity(name))
    if priced and isinstance(backend, PricedBackend):
        cost = asked(lambda: backend.endpoint_cost(name))
    return EndpointView(description, activity, cost, models.get(name), tuple(problems))


def _models(backend: ServingBackend, store: Path | None) -> dict[str, StoredModel]:
    """The models of the store that are served by endpoints of a backend, by the endpoint's name."""
    if store is None or not store.is_dir():
        return {}
    models = ModelStore(store)
    found = {}
    for name in models.names:
        try:
            endpoint = models.record(name).endpoint
        except BreedclfError:
            continue  # the pages of models say so
        if endpoint is not None and endpoint.backend == backend.name:
            found[endpoint.name] = StoredModel(name, endpoint.version)
    return found


def _about(url: str) -> dict[str, Any]:
    import urllib3  # not needed by lists

    try:
        with urllib3.PoolManager(retries=False) as pool:
            answer = pool.request("GET", f"{url}/about", timeout=_ABOUT_SECONDS, redirect=False, preload_content=False)
            found = json.loads(answer.read(_MAX_ABOUT_BYTES))
    except (urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _minutes(expires: float | None, now: float) -> str:
    return "" if expires is None else f"{max(0.0, expires - now) / 60:.0f} min"
