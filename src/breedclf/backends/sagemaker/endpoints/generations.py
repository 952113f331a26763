"""The models and configurations behind an endpoint: made together, undone together, and cleared away when outdated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import error_message
from breedclf.backends.sagemaker.endpoints.request import Generation, generation_of, name_begin
from breedclf.backends.sagemaker.refusals import is_missing, is_there, may_be_taken, names
from breedclf.jobs.handle import Clock

log: logging.Logger = logging.getLogger(__name__)

_TRIES, _PAUSE_SECONDS = 6, 2.0


def make(
    client: Any, generation: Generation, finish: Callable[[], object], is_used: Callable[[], bool], clock: Clock
) -> None:
    """Make model and configuration, then what uses them; what was made is deleted when AWS refuses the rest.

    After a lost connection nothing is undone, since nobody knows what AWS has begun; nor where the endpoint `is_used`
    by somebody else with this very generation, who found it there.

    Raises:
        ClientError: AWS refuses.
    """
    name = generation.name
    undo: list[Callable[[], object]] = []

    def make_config() -> None:
        if _created(
            lambda: client.create_endpoint_config(**generation.config),
            lambda: client.describe_endpoint_config(EndpointConfigName=name),
        ):
            undo.insert(0, lambda: client.delete_endpoint_config(EndpointConfigName=name))

    try:
        if _created(lambda: client.create_model(**generation.model), lambda: client.describe_model(ModelName=name)):
            undo.append(lambda: client.delete_model(ModelName=name))
        _when_known(name, make_config, clock)
        _when_known(name, finish, clock)
    except ClientError:
        if undo and not is_used():
            for step in undo:
                _tolerantly(step)
        raise


def forget(client: Any, endpoint: str, gone: Callable[[int], bool]) -> None:
    """Delete the models and configurations of those generations of an endpoint whose numbers are gone.

    Raises:
        ClientError: AWS refuses to list them.
    """
    kinds = (
        ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", client.delete_endpoint_config),
        ("list_models", "Models", "ModelName", client.delete_model),
    )
    for operation, plural, key, delete in kinds:
        pages = client.get_paginator(operation).paginate(NameContains=name_begin(endpoint))
        for name in [each[key] for page in pages for each in page[plural]]:
            number = generation_of(endpoint, name)
            if number is not None and gone(number):
                _tolerantly(lambda delete=delete, key=key, name=name: delete(**{key: name}))  # type: ignore[misc]


def _when_known(name: str, call: Callable[[], object], clock: Clock) -> None:
    """Call again while AWS doesn't know everywhere yet the thing of that name, which was made a moment ago."""
    for left in reversed(range(_TRIES)):
        try:
            call()
            return
        except ClientError as error:
            if not left or not names(error, name):
                raise
            clock.sleep(_PAUSE_SECONDS)


def _created(create: Callable[[], object], describe: Callable[[], object]) -> bool:
    """Create something whose name stands for its content, and say whether it wasn't there already."""
    try:
        create()
    except ClientError as error:
        if may_be_taken(error) and is_there(describe):
            return False
        raise
    return True


def _tolerantly(delete: Callable[[], object]) -> None:
    try:
        delete()
    except ClientError as error:
        if not is_missing(error):
            log.warning("%s; `breedclf sagemaker clean` finds it again", error_message(error))
