"""Requests to an endpoint, retried after transient errors."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from breedclf.backends.sagemaker.aws_errors import error_code, error_message, translate_aws_errors
from breedclf.errors import EndpointError, ModelError
from breedclf.jobs.handle import Clock

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 4.0
_BUSY_STATUS = 503
_TRANSIENT = {
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


def invoke(
    client: Any,
    name: str,
    body: bytes,
    *,
    content_type: str,
    timeout_seconds: float,
    clock: Clock,
    attributes: str = "",
) -> bytes:
    """Invoke an endpoint; retry while AWS or the model is busy, until the timeout.

    Args:
        client: boto3's client of sagemaker-runtime, without retries of its own.
        name: the endpoint.
        body: an image file, or JSON with several.
        content_type: the type of the body.
        timeout_seconds: after this time no further attempt starts; a single one may take up to 60 seconds.
        clock: the time.
        attributes: custom attributes for the model's server, if any.

    Raises:
        ModelError: the model's server rejected the request, or was busy until the timeout.
        EndpointError: there is no such endpoint, or no answer within the timeout.
    """
    until = clock.monotonic() + timeout_seconds
    extra = {"CustomAttributes": attributes} if attributes else {}
    pause = _FIRST_PAUSE_SECONDS
    last: Exception = EndpointError("no request was sent")
    while clock.monotonic() < until:
        try:
            with translate_aws_errors(f"invoking endpoint {name}", as_=EndpointError):
                answer = client.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type, **extra)
                return bytes(answer["Body"].read())
        except EndpointError as error:
            last = _model_error(error) or error
            if not _is_transient(error):
                raise last from error
        clock.sleep(max(0.0, min(pause, until - clock.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    if isinstance(last, ModelError):
        raise last
    raise EndpointError(f"endpoint {name} gave no answer within {timeout_seconds:g} s ({last})")


def _model_error(error: EndpointError) -> ModelError | None:
    """The error response of the model's server, if it was that."""
    cause = error.__cause__
    if not isinstance(cause, ClientError) or error_code(cause) != "ModelError":
        return None
    status, message = cause.response.get("OriginalStatusCode", 0), cause.response.get("OriginalMessage")
    return ModelError(int(status), str(message or error_message(cause)))


def _is_transient(error: EndpointError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return isinstance(cause, HTTPClientError)
    model_error = _model_error(error)
    if model_error is not None:
        return model_error.original_status_code == _BUSY_STATUS
    return error_code(cause) in _TRANSIENT
