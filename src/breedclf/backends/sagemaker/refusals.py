"""What a refusal of AWS means: told by its code, then by the request's shape, never by its sentence.

A request that gives nothing but a well-formed name can be refused as such only since there is no such thing, whatever
the sentence says: these requests are checked against the service's model before they are sent. Where a refusal could
mean two things, the caller asks for the thing and looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import error_code, error_message

_REFUSED = {"ValidationException", "ValidationError"}
_MISSING = {"ResourceNotFound", "ResourceNotFoundException", "NoSuchEntity", "NotFound", "404"}
_TAKEN = {"ResourceInUse", "ResourceInUseException", "ConflictException"}
_NAME_ALONE = re.compile(r"Describe.*|ListTags|DeleteModel|DeleteEndpointConfig")


def is_refused(error: ClientError) -> bool:
    """Whether the request as such is refused, and not its sender, its pace or the moment."""
    return error_code(error) in _REFUSED


def is_missing(error: ClientError) -> bool:
    """Whether there is no such thing as the request names."""
    alone = _NAME_ALONE.fullmatch(error.operation_name) is not None
    return error_code(error) in _MISSING or (is_refused(error) and alone)


def names(error: ClientError, name: str) -> bool:
    """Whether a refusal is about the thing of that name, which AWS puts into its sentence."""
    return (is_refused(error) or is_missing(error)) and name.lower() in error_message(error).lower()


def is_taken(error: ClientError) -> bool:
    """Whether there is a thing of that name already, where the code alone tells."""
    return error_code(error) in _TAKEN


def may_be_taken(error: ClientError) -> bool:
    """Whether a Create was refused since its name is taken, or for a reason that only a look can tell from that."""
    return is_taken(error) or is_refused(error)


def may_have_ended(error: ClientError) -> bool:
    """Whether a Stop, Delete or Update was refused since the thing is gone or in a state that allows no such change."""
    return is_taken(error) or is_missing(error) or is_refused(error)


def was_sent_again(error: ClientError) -> bool:
    """Whether boto3 had sent the same request before, so that what is in its way may be its own doing."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def is_there(describe: Callable[[], object]) -> bool:
    """Whether AWS knows what is described.

    Raises:
        ClientError: it can't be asked.
    """
    try:
        describe()
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True
