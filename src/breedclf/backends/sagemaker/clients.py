"""boto3 clients, configured and shared."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ConnectionClosedError, NoCredentialsError, NoRegionError

from breedclf._version import __version__
from breedclf.errors import ConfigError

RETRIES = 8
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_KEYS = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})
_RETRIES_OF = {"sagemaker-runtime": 0}  # invocations are retried within the caller's own timeout
_TRUNCATED_PAUSE_SECONDS = 0.5
_SMALL_BODY_BYTES = 1 << 20
_CONNECT_SECONDS, _READ_SECONDS = 10, 60


@dataclass
class AwsClients:
    """Clients by service name, created on first use and shared by all threads.

    `endpoint_url` applies to every service; without it, boto3's own settings decide (`AWS_ENDPOINT_URL`). After AWS has
    refused the credentials as expired or unknown, and while there are none, they are read again for the next call,
    unless the session was made with keys.

    Raises:
        ConfigError: no region is configured.
    """

    session: boto3.Session
    region: str | None = None
    endpoint_url: str | None = None
    retries: int = RETRIES
    _made: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _is_refused: bool = field(default=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the profile and region, and finds the credentials itself.

        Raises:
            ConfigError: the credentials were passed to the session, and would be in the pickle.
        """
        credentials = self.session.get_credentials()
        if credentials is not None and credentials.method == "explicit":
            raise ConfigError(
                "this backend can't be pickled: its boto3.Session was made with keys, which the pickle would contain; "
                "use a profile or environment variables, or make the backend in the other process"
            )
        return _clients_for, (_profile_of(self.session), self.session.region_name, self.region, self.endpoint_url)

    def __call__(self, service: str) -> Any:
        """The client of a service, such as "sagemaker", "sagemaker-runtime", "s3", "logs", "iam" or "sts"."""
        with self._lock:
            self._renew()
            if service not in self._made:
                config = Config(
                    retries={"mode": "standard", "max_attempts": _RETRIES_OF.get(service, self.retries)},
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
                        "no AWS region is configured: pass SageMakerBackend(region=...) or set AWS_DEFAULT_REGION"
                    ) from error
                events = self._made[service].meta.events
                events.register("needs-retry", _retry_truncated)
                events.register_last("before-call.s3", _skip_expect_header)
                events.register("after-call", self._note_refusal)
                events.register("after-call-error", self._note_missing)
            return self._made[service]

    def _renew(self) -> None:
        """Read the credentials of this machine again if the present ones are of no use."""
        if not self._is_refused:
            return
        credentials = self.session.get_credentials()
        self._is_refused = False
        if credentials is None or credentials.method != "explicit":
            self.session = _session_like(self.session)
            self._made.clear()

    def _note_missing(self, exception: Exception, **_: Any) -> None:
        self._is_refused |= isinstance(exception, NoCredentialsError)

    def _note_refusal(self, parsed: Any, **_: Any) -> None:
        code = parsed.get("Error", {}).get("Code")
        self._is_refused |= code in EXPIRED or code in _UNKNOWN_KEYS


def _profile_of(session: boto3.Session) -> str | None:
    return session.profile_name if session.profile_name in session.available_profiles else None


def _session_like(session: boto3.Session) -> boto3.Session:
    return boto3.Session(profile_name=_profile_of(session), region_name=session.region_name)


def _clients_for(profile: str | None, session_region: str | None, region: str | None, url: str | None) -> AwsClients:
    return AwsClients(boto3.Session(profile_name=profile, region_name=session_region), region, url)


def session_or_default(session: boto3.Session | None) -> boto3.Session:
    """The given session, or boto3's default one.

    Raises:
        ConfigError: AWS_PROFILE names an unknown profile, or the AWS configuration files can't be read.
    """
    if session is not None:
        return session
    try:
        return boto3.Session()
    except BotoCoreError as error:
        raise ConfigError(f"can't load the AWS configuration of this machine: {error}") from error


def _retry_truncated(response: Any, operation: Any, attempts: int, request_dict: Any, **_: Any) -> float | None:
    """Seconds before a retry of a truncated response, which botocore would take for an empty one."""
    shape = operation.output_shape
    if response is None or shape is None or response[0].status_code != 200:
        return None
    if all(name in response[1] for name in shape.required_members):
        return None
    if attempts > RETRIES:
        raise ConnectionClosedError(endpoint_url=request_dict["url"])
    return _TRUNCATED_PAUSE_SECONDS


def _skip_expect_header(params: Any, **_: Any) -> None:
    """Send small S3 objects without `Expect: 100-continue`, which costs one round trip each."""
    body = params.get("body")
    if isinstance(body, io.BytesIO) and body.getbuffer().nbytes <= _SMALL_BODY_BYTES:
        params["headers"].pop("Expect", None)
