"""Switches for the failures that AWS may have: refused calls, delays, lost responses, failing machines."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.config import Settings

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
PRESETS: dict[str, dict[str, Any]] = {
    "throttling": {"code": "ThrottlingException", "message": "Rate exceeded"},
    "server-error": {"code": "InternalFailure", "message": "An internal error occurred.", "status": 500},
    "unavailable": {"code": "ServiceUnavailable", "message": "Service is unable to handle request.", "status": 503},
    "expired": {
        "code": "ExpiredTokenException",
        "message": "The security token included in the request is expired",
    },
    "access-denied": {"code": "AccessDeniedException"},
    "not-yet": {"code": "ValidationException", "message": "Requested resource not found."},
    "quota": {"code": "ResourceLimitExceeded"},
    "lost": {"drop": True},
    "capacity": {"message": CAPACITY},
    "health-check": {},
}


_S3_ERRORS = {  # S3's code and status for the same error
    "AccessDeniedException": ("AccessDenied", 403),
    "ExpiredTokenException": ("ExpiredToken", 400),
    "ThrottlingException": ("SlowDown", 503),
    "InternalFailure": ("InternalError", 500),
}
_MAX_CALLS = 100_000


class Fault(Settings):
    """One switch: the operations it applies to, when, how often, and the failure.

    `operation` is a name such as CreateTrainingJob, `s3:PutObject` for S3, a pattern (`List*`), or TrainingJob,
    TransformJob or Endpoint for a failure of the machine. `preset` sets the fields that aren't given.

    Raises:
        ConfigError: a field or preset is unknown, or a field is out of range.

    Example:
        >>> Fault(operation="DescribeTrainingJob", preset="throttling", times=2).code
        'ThrottlingException'
    """

    operation: str
    preset: str | None = None
    code: str | None = None
    message: str | None = None
    status: int = Field(default=400, ge=200, le=599)
    times: int | None = Field(default=1, ge=1, description="how often; None means always")
    after: int = Field(default=0, ge=0, description="how many matching calls pass first")
    delay_seconds: float = Field(default=0, ge=0)
    drop: bool = Field(default=False, description="close the connection with no answer")
    name: str | None = Field(default=None, description="only calls about the resource of this name")

    def __init__(self, **fields: Any) -> None:
        preset = fields.get("preset")
        if isinstance(preset, str) and preset in PRESETS:
            fields = {**PRESETS[preset], **fields}
        super().__init__(**fields)
        if preset is not None and preset not in PRESETS:
            from breedclf.config import nearest
            from breedclf.errors import ConfigError

            raise ConfigError(f"unknown fault {preset!r}: {nearest(preset, PRESETS)}")


class DroppedCall(Exception):  # noqa: N818 - not an error: the connection is closed
    """The response must be dropped."""


@dataclass
class Faults:
    """The active switches, the delays of answers, and a record of all calls."""

    lags: Lags = field(default_factory=Lags)
    _faults: list[tuple[Fault, list[int]]] = field(default_factory=list)
    _calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_MAX_CALLS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Activate a switch."""
        with self._lock:
            self._faults.append((fault, [0]))

    def clear(self) -> None:
        """Remove all switches, delays and recorded calls."""
        with self._lock:
            self._faults.clear()
            self._calls.clear()
            self.lags = Lags()

    def calls(self) -> list[dict[str, Any]]:
        """Every call since the last `clear`: service, operation and time."""
        with self._lock:
            return list(self._calls)

    def apply(self, service: str, operation: str, name: str | None = None) -> None:
        """Record a call, and apply the first switch that is due.

        Raises:
            ServiceError: the call is refused.
            DroppedCall: the response must be dropped.
        """
        word = operation if service in ("sagemaker", "runtime", "logs") else f"{service}:{operation}"
        with self._lock:
            self._calls.append({"service": service, "operation": operation, "name": name, "time": time.time()})
        fault = self._due(word, name)
        if fault is None:
            return
        if fault.delay_seconds:
            time.sleep(fault.delay_seconds)
        if fault.drop:
            raise DroppedCall
        if fault.code:
            usual = (fault.code, fault.status)
            code, status = _S3_ERRORS.get(fault.code, usual) if service == "s3" else usual
            raise ServiceError(code, fault.message or _default_message(fault, service, operation), status)

    def job_failure(self, kind: str, name: str) -> str | None:
        """The failure of a machine, if a switch is due: TrainingJob, TransformJob or Endpoint."""
        fault = self._due(kind, name)
        return None if fault is None else (fault.message or fault.preset or "InternalServerError")

    def _due(self, word: str, name: str | None) -> Fault | None:
        with self._lock:
            for fault, matches in self._faults:
                if not fnmatch.fnmatchcase(word, fault.operation) or fault.name not in (None, name):
                    continue
                matches[0] += 1
                if matches[0] > fault.after and (fault.times is None or matches[0] <= fault.after + fault.times):
                    return fault
        return None


def fault_of(document: Mapping[str, Any]) -> Fault:
    """The switch that a request to `/_emulator/faults` describes."""
    return Fault(**document)


def _default_message(fault: Fault, service: str, operation: str) -> str:
    if fault.code == "AccessDeniedException":
        word = "sagemaker" if service == "runtime" else service
        return (
            f"User: arn:aws:iam::123456789012:user/emulator is not authorized to perform: {word}:{operation} "
            "because no identity-based policy allows the action"
        )
    if fault.code == "ResourceLimitExceeded":
        return (
            "The account-level service limit 'ml.m5.xlarge for training job usage' is 0 Instances, with current "
            "utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request "
            "an increase for this quota."
        )
    return f"{fault.code}: requested by a switch of the emulator"
