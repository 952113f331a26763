"""Amazon's clients as the back end uses them, and their errors in words that say what to do."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)

from breedclf._version import __version__
from breedclf.errors import BreedclfError, ConfigError

_RETRIES = 8
_RETRIES_OF = {"sagemaker-runtime": 0}  # who asks a model tries again by itself, within its own time
_CUT_PAUSE_SECONDS = 0.5
_SENT_AT_ONCE_BYTES = 1 << 20
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_NOT_PERMITTED_ACTION = re.compile(r"perform: ([a-z0-9\-]+:[A-Za-z*]+)")


@dataclass
class AwsClients:
    """Clients by service name, made when they are first asked for and shared by all threads.

    With `endpoint_url` every service is asked there; without it, boto3's own settings decide (`AWS_ENDPOINT_URL`).

    Raises:
        ConfigError: no region is known.
    """

    session: boto3.Session
    region: str | None = None
    endpoint_url: str | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, service: str) -> Any:
        """The client of a service, such as "sagemaker", "sagemaker-runtime", "s3", "logs", "iam" or "sts"."""
        with self._lock:
            if service not in self._made:
                config = Config(
                    retries={"mode": "standard", "max_attempts": _RETRIES_OF.get(service, _RETRIES)},
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    max_pool_connections=32,
                    user_agent_extra=f"breedclf/{__version__}",
                )
                try:
                    self._made[service] = self.session.client(
                        service, region_name=self.region, endpoint_url=self.endpoint_url, config=config
                    )
                except NoRegionError as error:
                    raise ConfigError(
                        "no AWS region is known: give SageMakerBackend(region=...), or set AWS_DEFAULT_REGION"
                    ) from error
                events = self._made[service].meta.events
                events.register("needs-retry", _ask_again_when_cut)
                events.register_last("before-call.s3", _send_at_once)
            return self._made[service]


def session_of(given: boto3.Session | None) -> boto3.Session:
    """The session given, or the one that boto3 makes of the environment and its files.

    Raises:
        ConfigError: AWS_PROFILE names a profile that isn't there, or its files can't be read.
    """
    if given is not None:
        return given
    try:
        return boto3.Session()
    except BotoCoreError as error:
        raise ConfigError(f"the AWS settings of this machine can't be used: {error}") from error


def _ask_again_when_cut(response: Any, operation: Any, attempts: int, request_dict: Any, **_: Any) -> float | None:
    """How long to wait before another try, for an answer whose end got lost: botocore takes it for an empty one."""
    shape = operation.output_shape
    if response is None or shape is None or response[0].status_code != 200:
        return None
    if all(name in response[1] for name in shape.required_members):
        return None
    if attempts > _RETRIES:
        raise ConnectionClosedError(endpoint_url=request_dict["url"])
    return _CUT_PAUSE_SECONDS


def _send_at_once(params: Any, **_: Any) -> None:
    """Don't ask S3 first whether it would take a small object: that is a way there and back for each."""
    body = params.get("body")
    if isinstance(body, io.BytesIO) and body.getbuffer().nbytes <= _SENT_AT_ONCE_BYTES:
        params["headers"].pop("Expect", None)


def error_code(error: ClientError) -> str:
    """The service's word for what went wrong, such as ValidationException."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """The service's sentence about it."""
    return str(error.response.get("Error", {}).get("Message", "")) or str(error)


@contextmanager
def told(doing: str, kind: type[BreedclfError]) -> Iterator[None]:
    """Within it, what boto3 raises becomes `kind`: what was being done, what AWS says, and what to do next.

    Example:
        >>> with told("describing job j", BreedclfError):
        ...     pass
    """
    try:
        yield
    except ParamValidationError as error:
        raise ConfigError(f"{doing}: the request breaks the service's own rules: {error}") from error
    except ClientError as error:
        raise kind(f"{doing}: {explained(error)}") from error
    except NoCredentialsError as error:
        raise ConfigError(
            f"{doing}: no AWS credentials are found; run `aws configure` or `aws sso login`, or set AWS_PROFILE"
        ) from error
    except EndpointConnectionError as error:
        raise kind(f"{doing}: {error}; is the network up, and does the region have this service?") from error
    except BotoCoreError as error:
        raise kind(f"{doing}: {error}") from error


def explained(error: ClientError) -> str:
    """What AWS says and what to do about it, for the errors that people meet."""
    code, message = error_code(error), error_message(error)
    if code in _EXPIRED:
        return f"the AWS credentials have expired ({message}); sign in again (`aws sso login`), what runs goes on"
    if "cross-account pass role" in message.lower():
        return f"the role belongs to another account than the credentials ({message}); choose a role of theirs"
    if code in _DENIED:
        found = _NOT_PERMITTED_ACTION.search(message)
        missing = f"the permission {found.group(1)} is missing" if found else "a permission is missing"
        return f"{missing} ({message}); `breedclf sagemaker policy` prints what breedclf needs"
    if code == "NoSuchBucket":
        bucket = error.response.get("Error", {}).get("BucketName", "NAME")
        return f"bucket {bucket} is not there; make it with `aws s3 mb s3://{bucket}`, or name another (bucket=...)"
    if code == "ResourceLimitExceeded":
        return f"a quota of the account stands against it ({message}); ask for more under Service Quotas > SageMaker"
    if code in ("ThrottlingException", "Throttling", "SlowDown", "TooManyRequestsException"):
        return f"AWS asks to slow down, also after {_RETRIES} tries ({message}); try again in a minute"
    return f"{code}: {message}" if code else message
