"""A request to an endpoint on SageMaker, sent again while the trouble may pass."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from breedclf.backends.sagemaker.aws import error_code, error_message, told
from breedclf.errors import EndpointError, ModelError
from breedclf.jobs.handle import Clock

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 4.0
_BUSY_STATUS = 503
_PASSING = {
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "ModelNotReadyException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalServerException",
    "InternalDependencyException",
}


def invoke(client: Any, name: str, body: bytes, *, content_type: str, timeout_seconds: float, clock: Clock) -> bytes:
    """Ask the model behind an endpoint; again, where AWS or the model is busy, until the time is over.

    Args:
        client: boto3's client of sagemaker-runtime, which needn't try again by itself.
        name: the endpoint.
        body: a picture file, or JSON with several.
        content_type: what the body is.
        timeout_seconds: when no further try begins; a single one takes as long as SageMaker gives a model, 60 seconds.
        clock: the time.

    Raises:
        ModelError: the model's server refused it, or was busy until the end.
        EndpointError: there is no such endpoint, or no answer in time.
    """
    until = clock.monotonic() + timeout_seconds
    pause = _FIRST_PAUSE_SECONDS
    last: Exception = EndpointError("nothing was tried")
    while clock.monotonic() < until:
        try:
            with told(f"asking endpoint {name}", EndpointError):
                answer = client.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type)
                return bytes(answer["Body"].read())
        except EndpointError as error:
            last = _refusal(error) or error
            if not _passes(error):
                raise last from error
        clock.sleep(max(0.0, min(pause, until - clock.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    if isinstance(last, ModelError):
        raise last
    raise EndpointError(f"endpoint {name} gave no answer within {timeout_seconds:g} s ({last})")


def _refusal(error: EndpointError) -> ModelError | None:
    """What the model's own server answered, if it was that."""
    cause = error.__cause__
    if not isinstance(cause, ClientError) or error_code(cause) != "ModelError":
        return None
    status, message = cause.response.get("OriginalStatusCode", 0), cause.response.get("OriginalMessage")
    return ModelError(int(status), str(message or error_message(cause)))


def _passes(error: EndpointError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return isinstance(cause, HTTPClientError)
    refusal = _refusal(error)
    if refusal is not None:
        return refusal.original_status_code == _BUSY_STATUS
    return error_code(cause) in _PASSING
