"""Errors of AWS: translated into errors of breedclf that name a remedy, and classified.

Errors are classified by their code, then by the shape of the request, never by their message. A request that contains
only a well-formed name can be rejected as invalid only if nothing has that name, since requests are validated against
the service's model before they are sent. Where an error is ambiguous, the caller describes the resource to find out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
)

from breedclf.backends.sagemaker.clients import EXPIRED, RETRIES
from breedclf.errors import BreedclfError, ConfigError

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_THROTTLED = {"ThrottlingException", "Throttling", "SlowDown", "TooManyRequestsException"}
_INVALID = {"ValidationException", "ValidationError"}
_MISSING = {"ResourceNotFound", "ResourceNotFoundException", "NoSuchEntity", "NoSuchKey", "NotFound", "404"}
_TAKEN = {"ResourceInUse", "ResourceInUseException", "ConflictException"}
_NAME_ONLY = re.compile(
    "Describe(TrainingJob|HyperParameterTuningJob|TransformJob|Model|EndpointConfig|Endpoint|ModelPackageGroup)"
    "|ListTags|DeleteModel|DeleteEndpointConfig|DeleteModelPackageGroup"
)
_DENIED_ACTION = re.compile(r"perform: ([a-z0-9\-]+:[A-Za-z*]+)")


def error_code(error: ClientError) -> str:
    """The service's error code, such as ValidationException."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """The service's message."""
    return str(error.response.get("Error", {}).get("Message", "")) or str(error)


@contextmanager
def translate_aws_errors(action: str, *, as_: type[BreedclfError]) -> Iterator[None]:
    """Raise boto3's errors as `as_`: the action, the message of AWS, and the remedy.

    Raises:
        ConfigError: the request is invalid, or there are no credentials.

    Example:
        >>> with translate_aws_errors("describing job j", as_=BreedclfError):
        ...     pass
    """
    try:
        yield
    except ParamValidationError as error:
        raise ConfigError(f"{action}: invalid request: {error}") from error
    except ClientError as error:
        raise as_(f"{action}: {explain(error)}") from error
    except NoCredentialsError as error:
        raise ConfigError(
            f"{action}: no AWS credentials found; run `aws configure` or `aws sso login`, or set AWS_PROFILE"
        ) from error
    except EndpointConnectionError as error:
        raise as_(f"{action}: {error}; check the network, and that the region has this service") from error
    except BotoCoreError as error:
        raise as_(f"{action}: {error}") from error


def explain(error: ClientError) -> str:
    """The message of AWS with a remedy for common errors."""
    code, message = error_code(error), error_message(error)
    if code in EXPIRED:
        return f"the AWS credentials have expired ({message}); sign in again (`aws sso login`); running jobs continue"
    if "cross-account pass role" in message.lower():
        return f"the role belongs to another account than the credentials ({message}); use a role of the same account"
    if code in _DENIED:
        found = _DENIED_ACTION.search(message)
        missing = f"missing permission {found.group(1)}" if found else "missing permission"
        return f"{missing} ({message}); `breedclf sagemaker policy` prints the permissions that breedclf needs"
    if code == "NoSuchBucket":
        return no_bucket(error.response.get("Error", {}).get("BucketName", "NAME"))
    if code == "ResourceLimitExceeded":
        return f"an account quota is exceeded ({message}); request an increase under Service Quotas > SageMaker"
    if code in _THROTTLED:
        return f"AWS throttled the request, even after {RETRIES} retries ({message}); try again in a minute"
    return f"{code}: {message}" if code else message


def no_bucket(bucket: str) -> str:
    """The message for a bucket that doesn't exist."""
    return f"bucket {bucket} does not exist; create it with `aws s3 mb s3://{bucket}`, or use another one (bucket=...)"


def is_invalid(error: ClientError) -> bool:
    """Whether AWS rejected the request itself, not its sender, its rate or its timing."""
    return error_code(error) in _INVALID


def is_missing(error: ClientError) -> bool:
    """Whether the resource or object that the request names doesn't exist."""
    name_only = _NAME_ONLY.fullmatch(error.operation_name) is not None
    return error_code(error) in _MISSING or (is_invalid(error) and name_only)


def mentions(error: ClientError, name: str) -> bool:
    """Whether the request was rejected because of the resource of this name, which AWS includes in its message."""
    return (is_invalid(error) or is_missing(error)) and name.lower() in error_message(error).lower()


def is_taken(error: ClientError) -> bool:
    """Whether the name is taken, where the code alone says so."""
    return error_code(error) in _TAKEN


def may_be_taken(error: ClientError) -> bool:
    """Whether a Create may have failed because the name is taken; describe the resource to be sure."""
    return is_taken(error) or is_invalid(error)


def may_have_ended(error: ClientError) -> bool:
    """Whether a Stop, Delete or Update may have failed because the resource is gone or its state forbids the change."""
    return is_taken(error) or is_missing(error) or is_invalid(error)


def was_retried(error: ClientError) -> bool:
    """Whether boto3 had sent the same request before, so that the conflict may be with itself."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def exists(describe: Callable[[], object]) -> bool:
    """Whether AWS can describe the resource.

    Raises:
        ClientError: the request fails for another reason.
    """
    try:
        describe()
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True
