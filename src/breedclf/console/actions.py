"""What buttons do: each action by name, with the inputs it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from breedclf.console.done import Done, Fields
from breedclf.console.stored_actions import STORED_ACTIONS
from breedclf.errors import ConfigError
from breedclf.overview.overview import Overview


async def perform(name: str, overview: Overview, fields: Fields) -> Done:
    """Do what a button says.

    Raises:
        ConfigError: there is no such action, or an input is missing.
        BreedclfError: it can't be done.
    """
    if name not in ACTIONS:
        raise ConfigError(f"no action {name!r}; there are {', '.join(ACTIONS)}")
    try:
        return await asyncio.to_thread(ACTIONS[name], overview, fields)
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


ACTIONS: dict[str, Callable[[Overview, Fields], Done]] = {
    "stop-job": _stop_job,
    "delete-job": _delete_job,
    **STORED_ACTIONS,
}
