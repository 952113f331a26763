"""Creates and deletes the models and configurations behind an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import error_message, exists, is_missing, may_be_taken, mentions
from breedclf.backends.sagemaker.endpoints.request import Generation, generation_of, name_prefix
from breedclf.jobs.handle import Clock

log: logging.Logger = logging.getLogger(__name__)

_TRIES, _PAUSE_SECONDS = 6, 2.0


def create_with_model(
    client: Any, generation: Generation, finish: Callable[[], object], is_used: Callable[[], bool], clock: Clock
) -> None:
    """Create model and configuration, then call `finish`; both are deleted again if AWS refuses a step.

    Nothing is undone after a lost connection, since the state is unknown, nor if `is_used` says that an endpoint
    already uses this generation, because another process created the same one.

    Raises:
        ClientError: AWS refuses.
    """
    name = generation.name
    undo: list[Callable[[], object]] = []

    def create_config() -> None:
        if _created(
            lambda: client.create_endpoint_config(**generation.config),
            lambda: client.describe_endpoint_config(EndpointConfigName=name),
        ):
            undo.insert(0, lambda: client.delete_endpoint_config(EndpointConfigName=name))

    try:
        if _created(lambda: client.create_model(**generation.model), lambda: client.describe_model(ModelName=name)):
            undo.append(lambda: client.delete_model(ModelName=name))
        _retry_until_known(name, create_config, clock)
        _retry_until_known(name, finish, clock)
    except ClientError:
        if undo and not is_used():
            for step in undo:
                _try_delete(step)
        raise


def forget(client: Any, endpoint: str, is_obsolete: Callable[[int], bool]) -> None:
    """Delete the models and configurations of an endpoint's obsolete generations.

    Raises:
        ClientError: AWS refuses to list them.
    """
    kinds = (
        ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", client.delete_endpoint_config),
        ("list_models", "Models", "ModelName", client.delete_model),
    )
    for operation, plural, key, delete in kinds:
        pages = client.get_paginator(operation).paginate(NameContains=name_prefix(endpoint))
        for name in [each[key] for page in pages for each in page[plural]]:
            number = generation_of(endpoint, name)
            if number is not None and is_obsolete(number):
                _try_delete(lambda delete=delete, key=key, name=name: delete(**{key: name}))  # type: ignore[misc]


def _retry_until_known(name: str, call: Callable[[], object], clock: Clock) -> None:
    """Retry while AWS, which is eventually consistent, doesn't know the resource that was just created."""
    for left in reversed(range(_TRIES)):
        try:
            call()
            return
        except ClientError as error:
            if not left or not mentions(error, name):
                raise
            clock.sleep(_PAUSE_SECONDS)


def _created(create: Callable[[], object], describe: Callable[[], object]) -> bool:
    """Create a resource whose name contains a digest of its content; False if it already exists."""
    try:
        create()
    except ClientError as error:
        if may_be_taken(error) and exists(describe):
            return False
        raise
    return True


def _try_delete(delete: Callable[[], object]) -> None:
    try:
        delete()
    except ClientError as error:
        if not is_missing(error):
            log.warning("%s; `breedclf sagemaker clean` can delete it later", error_message(error))
