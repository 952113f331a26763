"""The end of an endpoint as AWS keeps it: a one-time schedule of EventBridge that deletes it when its time is over.

Source: EventBridge Scheduler's user guide, "Universal targets" and "One-time schedules".
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import told
from breedclf.backends.sagemaker.refusals import is_missing, is_taken
from breedclf.errors import EndpointError

_MAX_NAME_CHARS = 64
_RETRIES, _RETRY_SECONDS = 185, 86_400  # AWS refuses to delete an endpoint that it is just creating or updating


def schedule_name(endpoint: str) -> str:
    """The name of an endpoint's schedule.

    Example:
        >>> schedule_name("dogs")
        'breedclf-end-of-dogs'
    """
    name = f"breedclf-end-of-{endpoint}"
    if len(name) <= _MAX_NAME_CHARS:
        return name
    digest = hashlib.sha256(endpoint.encode()).hexdigest()[:8]
    return f"{name[: _MAX_NAME_CHARS - 9]}-{digest}"


def schedule_request(endpoint: str, *, expires: float, role: str) -> dict[str, Any]:
    """What CreateSchedule gets; `expires` is in seconds since 1970, `role` the one that may delete endpoints."""
    partition = role.split(":")[1]
    return {
        "Name": schedule_name(endpoint),
        "ScheduleExpression": f"at({datetime.fromtimestamp(expires, UTC):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:sagemaker:deleteEndpoint",
            "RoleArn": role,
            "Input": json.dumps({"EndpointName": endpoint}),
            "RetryPolicy": {"MaximumRetryAttempts": _RETRIES, "MaximumEventAgeInSeconds": _RETRY_SECONDS},
        },
    }


def set_end(client: Any, endpoint: str, *, expires: float, role: str) -> bool:
    """Have AWS delete an endpoint at a time; False where an endpoint of this name has its schedule already.

    Raises:
        EndpointError: AWS refuses.
    """
    with told(f"scheduling the end of endpoint {endpoint}", EndpointError):
        try:
            client.create_schedule(**schedule_request(endpoint, expires=expires, role=role))
        except ClientError as error:
            if not is_taken(error):
                raise
            return False
    return True


def drop_end(client: Any, endpoint: str) -> None:
    """Delete an endpoint's schedule, if there is one.

    Raises:
        EndpointError: AWS refuses.
    """
    with told(f"deleting the schedule of endpoint {endpoint}", EndpointError):
        try:
            client.delete_schedule(Name=schedule_name(endpoint))
        except ClientError as error:
            if not is_missing(error):
                raise
