"""Switches that make the emulator answer as AWS does on a bad day: refusals, delays, lost answers, failing machines."""

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


_S3_WORDS = {  # what S3 calls the same, and its status
    "AccessDeniedException": ("AccessDenied", 403),
    "ExpiredTokenException": ("ExpiredToken", 400),
    "ThrottlingException": ("SlowDown", 503),
    "InternalFailure": ("InternalError", 500),
}
_MAX_CALLS = 100_000


class Fault(Settings):
    """One switch: which operations it hits, after how many calls, how often, and what happens then.

    `operation` is a name such as CreateTrainingJob, S3's `s3:PutObject`, a pattern (`List*`), or TrainingJob or
    Endpoint for what happens to the machine of one. `preset` fills in what isn't given.

    Raises:
        ConfigError: a field is unknown or out of range, or the preset is.

    Example:
        >>> Fault(operation="DescribeTrainingJob", preset="throttling", times=2).code
        'ThrottlingException'
    """

    operation: str
    preset: str | None = None
    code: str | None = None
    message: str | None = None
    status: int = Field(default=400, ge=200, le=599)
    times: int | None = Field(default=1, ge=1, description="how often; None is for ever")
    after: int = Field(default=0, ge=0, description="how many matching calls pass first")
    delay_seconds: float = Field(default=0, ge=0)
    drop: bool = Field(default=False, description="close the connection with no answer")
    name: str | None = Field(default=None, description="only calls about the thing of this name")

    def __init__(self, **fields: Any) -> None:
        preset = fields.get("preset")
        if isinstance(preset, str) and preset in PRESETS:
            fields = {**PRESETS[preset], **fields}
        super().__init__(**fields)
        if preset is not None and preset not in PRESETS:
            from breedclf.config import nearest
            from breedclf.errors import ConfigError

            raise ConfigError(f"no fault is called {preset!r}: {nearest(preset, PRESETS)}")


class DroppedCall(Exception):  # noqa: N818 - no error of ours: the connection is to be closed
    """The answer is to get lost."""


@dataclass
class Faults:
    """The switches that are on, how far answers lag behind, and every call that came in."""

    lags: Lags = field(default_factory=Lags)
    _faults: list[tuple[Fault, list[int]]] = field(default_factory=list)
    _calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_MAX_CALLS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Turn one on."""
        with self._lock:
            self._faults.append((fault, [0]))

    def clear(self) -> None:
        """Turn all off, answer at once, and forget the calls."""
        with self._lock:
            self._faults.clear()
            self._calls.clear()
            self.lags = Lags()

    def calls(self) -> list[dict[str, Any]]:
        """Every call since the last `clear`: service, operation and time."""
        with self._lock:
            return list(self._calls)

    def meet(self, service: str, operation: str, name: str | None = None) -> None:
        """Note a call, and let what is switched on happen to it.

        Raises:
            ServiceError: it is refused.
            DroppedCall: its answer gets lost.
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
            code, status = _S3_WORDS.get(fault.code, usual) if service == "s3" else usual
            raise ServiceError(code, fault.message or _usual_message(fault, service, operation), status)

    def job_failure(self, what: str, name: str) -> str | None:
        """Why the machine of a thing fails, if it is to: TrainingJob, TransformJob or Endpoint."""
        fault = self._due(what, name)
        return None if fault is None else (fault.message or fault.preset or "InternalServerError")

    def _due(self, word: str, name: str | None) -> Fault | None:
        with self._lock:
            for fault, seen in self._faults:
                if not fnmatch.fnmatchcase(word, fault.operation) or fault.name not in (None, name):
                    continue
                seen[0] += 1
                if seen[0] > fault.after and (fault.times is None or seen[0] <= fault.after + fault.times):
                    return fault
        return None


def fault_of(document: Mapping[str, Any]) -> Fault:
    """The switch that a request to `/_emulator/faults` describes."""
    return Fault(**document)


def _usual_message(fault: Fault, service: str, operation: str) -> str:
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
    return f"{fault.code}: the emulator was asked to answer so"
