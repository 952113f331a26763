"""The models and configurations behind an endpoint: made together, undone together, and cleared away when outdated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import error_code, error_message
from breedclf.backends.sagemaker.endpoint_request import Generation, generation_of, name_begin
from breedclf.job_handle import Clock

log = logging.getLogger(__name__)

_TRIES, _PAUSE_SECONDS = 6, 2.0


def make(client: Any, generation: Generation, finish: Callable[[], object], clock: Clock) -> None:
    """Make model and configuration, then what uses them; what was made goes again when AWS refuses the rest.

    After a lost connection nothing is undone, since nobody knows what AWS has begun.

    Raises:
        ClientError: AWS refuses.
    """
    undo: list[Callable[[], object]] = []

    def make_config() -> None:
        if _created(lambda: client.create_endpoint_config(**generation.config)):
            undo.insert(0, lambda: client.delete_endpoint_config(EndpointConfigName=generation.name))

    try:
        if _created(lambda: client.create_model(**generation.model)):
            undo.append(lambda: client.delete_model(ModelName=generation.name))
        _when_known(make_config, clock)
        _when_known(finish, clock)
    except ClientError:
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


def says(error: ClientError, *words: str) -> bool:
    """Whether AWS refuses a request as such, in one of these words."""
    message = error_message(error).lower()
    return error_code(error) == "ValidationException" and any(word in message for word in words)


def is_absent(error: ClientError) -> bool:
    """Whether AWS doesn't know what was named."""
    return says(error, "could not find")


def is_changing(error: ClientError) -> bool:
    """Whether AWS is at work on the endpoint, and takes no other order meanwhile."""
    return says(error, "in-progress", "in progress")


def is_taken(error: ClientError) -> bool:
    """Whether there is something of that name."""
    return says(error, "already existing", "already exists")


def was_sent_again(error: ClientError) -> bool:
    """Whether boto3 had sent the same request before."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def _when_known(call: Callable[[], object], clock: Clock) -> None:
    """Call again while AWS doesn't know everywhere yet what it was told a moment ago."""
    for left in reversed(range(_TRIES)):
        try:
            call()
            return
        except ClientError as error:
            if not left or not is_absent(error):
                raise
            clock.sleep(_PAUSE_SECONDS)


def _created(create: Callable[[], object]) -> bool:
    """Create something whose name stands for its content, and say whether it wasn't there already."""
    try:
        create()
    except ClientError as error:
        if is_taken(error):
            return False
        raise
    return True


def _tolerantly(delete: Callable[[], object]) -> None:
    try:
        delete()
    except ClientError as error:
        if not is_absent(error):
            log.warning("%s; `breedclf sagemaker clean` finds it again", error_message(error))
