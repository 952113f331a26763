"""What buttons do: each action by name, with the inputs it needs."""

from __future__ import annotations

from collections.abc import Callable

from breedclf.api.deployment import serving_backend
from breedclf.api.endpoint import Endpoint
from breedclf.console.done import Done, Fields
from breedclf.console.stored_actions import STORED_ACTIONS
from breedclf.console.threads import in_thread
from breedclf.errors import ConfigError, EndpointError
from breedclf.jobs.endpoints import EndpointStatus, ServingBackend
from breedclf.overview.overview import Overview
from breedclf.overview.search_commands import stop_search

_DELETE_SECONDS = 20.0


async def perform(name: str, overview: Overview, fields: Fields) -> Done:
    """Do what a button says.

    Raises:
        ConfigError: there is no such action, or an input is missing.
        BreedclfError: it can't be done.
    """
    if name not in ACTIONS:
        raise ConfigError(f"no action {name!r}; there are {', '.join(ACTIONS)}")
    try:
        return await in_thread(ACTIONS[name], overview, fields)
    except KeyError as missing:
        raise ConfigError(f"action {name} needs the field {missing}") from None
    finally:
        overview.forget()


def _stop_job(overview: Overview, fields: Fields) -> Done:
    overview.backend.stop(fields["name"])
    return Done(f"Asked {fields['name']} to stop")


def _delete_job(overview: Overview, fields: Fields) -> Done:
    overview.backend.delete(fields["name"])
    return Done(f"Deleted {fields['name']}", next="/jobs")


def _stop_search(overview: Overview, fields: Fields) -> Done:
    found = overview.search(fields["name"])
    if found.value is None:
        raise ConfigError(found.problem)
    return Done(stop_search(found.value, overview.backend))


def _delete_endpoint(overview: Overview, fields: Fields) -> Done:
    """Delete an endpoint, and wait a while for its last answers; SageMaker takes minutes."""
    name, backend = fields["name"], serving_backend(overview.backend)
    try:
        Endpoint(name, backend).delete(timeout_seconds=_DELETE_SECONDS)
    except EndpointError:
        if not _is_deleting(backend, name):
            raise
        return Done(f"{name} is being deleted", next="/endpoints")
    return Done(f"Deleted {name}", next="/endpoints")


def _is_deleting(backend: ServingBackend, name: str) -> bool:
    return any(each.name == name and each.status is EndpointStatus.DELETING for each in backend.list_endpoints())


ACTIONS: dict[str, Callable[[Overview, Fields], Done]] = {
    "stop-job": _stop_job,
    "delete-job": _delete_job,
    "stop-search": _stop_search,
    "delete-endpoint": _delete_endpoint,
    **STORED_ACTIONS,
}
