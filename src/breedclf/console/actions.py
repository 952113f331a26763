"""What buttons do: each action by name, with the inputs it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from breedclf.console.threads import in_thread
from breedclf.errors import ConfigError
from breedclf.overview.overview import Overview

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """What an action has done, and the page to go to next, if another."""

    text: str
    next: str = ""


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
        overview.looks.forget()


def _stop_job(overview: Overview, fields: Fields) -> Done:
    overview.backend.stop(fields["name"])
    return Done(f"Asked {fields['name']} to stop")


def _delete_job(overview: Overview, fields: Fields) -> Done:
    overview.backend.delete(fields["name"])
    return Done(f"Deleted {fields['name']}", next="/jobs")


ACTIONS: dict[str, Callable[[Overview, Fields], Done]] = {
    "stop-job": _stop_job,
    "delete-job": _delete_job,
}
