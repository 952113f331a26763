"""Deletes expired endpoints with one-time schedules of EventBridge Scheduler.

Source: EventBridge Scheduler's user guide, "Universal targets" and "One-time schedules".
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import is_missing, is_taken, translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.errors import EndpointError

_MAX_NAME_CHARS = 64
_RETRIES, _RETRY_SECONDS = 185, 86_400  # AWS can't delete an endpoint that is being created or updated


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
    """The parameters of CreateSchedule; `expires` is in seconds since 1970, `role` may delete endpoints."""
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


class EndSchedule:
    """Schedules of endpoints, where `endpoint_end_role` is set."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context

    @property
    def is_enabled(self) -> bool:
        """Whether AWS deletes expired endpoints."""
        return self._context.settings.endpoint_end_role is not None

    def set(self, endpoint: str, expires: float) -> bool:
        """Have AWS delete an endpoint at a time; False if an endpoint of this name already has a schedule.

        Raises:
            EndpointError: AWS refuses.
        """
        role = self._context.settings.endpoint_end_role
        assert role is not None
        with translate_aws_errors(f"scheduling the deletion of endpoint {endpoint}", as_=EndpointError):
            try:
                client = self._context.clients("scheduler")
                client.create_schedule(**schedule_request(endpoint, expires=expires, role=role))
            except ClientError as error:
                if not is_taken(error):
                    raise
                return False
        return True

    def cancel(self, endpoint: str) -> None:
        """Delete an endpoint's schedule, if there is one.

        Raises:
            EndpointError: AWS refuses.
        """
        if not self.is_enabled:
            return
        with translate_aws_errors(f"deleting the schedule of endpoint {endpoint}", as_=EndpointError):
            try:
                self._context.clients("scheduler").delete_schedule(Name=schedule_name(endpoint))
            except ClientError as error:
                if not is_missing(error):
                    raise
