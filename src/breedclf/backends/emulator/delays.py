"""How many seconds the emulator's answers lag behind, as AWS's do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from breedclf.backends.emulator.store import Record
from breedclf.config import Settings


class Lags(Settings):
    """Seconds by which answers lag behind events; 0 means no delay.

    Raises:
        ConfigError: a field is unknown or out of range.

    Example:
        >>> Lags(logs_seconds=4).hides_log_line(10.0, now=13.0)
        True
    """

    logs_seconds: float = Field(default=0.0, ge=0, le=600, description="until CloudWatch has a log line")
    metrics_seconds: float = Field(default=0.0, ge=0, le=600, description="until an ended job has its final metrics")
    search_seconds: float = Field(default=0.0, ge=0, le=600, description="until Search finds a job, or its end")
    endpoint_seconds: float = Field(default=0.0, ge=0, le=600, description="until an endpoint is InService")

    def hides_log_line(self, written: float, *, now: float) -> bool:
        """Whether CloudWatch lacks a line written at `written` (seconds since 1970)."""
        return now < written + self.logs_seconds

    def hides_metrics(self, ended: float | None, *, now: float) -> bool:
        """Whether DescribeTrainingJob lacks a job's final metrics."""
        return bool(self.metrics_seconds) and (ended is None or now < ended + self.metrics_seconds)

    def found(self, described: Mapping[str, Any], *, now: float) -> dict[str, Any] | None:
        """A training job as Search describes it; None while Search doesn't find it."""
        if now < described["CreationTime"] + self.search_seconds:
            return None
        if now >= described.get("TrainingEndTime", now) + self.search_seconds:
            return dict(described)
        known = {key: value for key, value in described.items() if key not in _KNOWN_AT_THE_END}
        return {**known, "TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}

    def endpoint_status(self, record: Record, *, now: float) -> str:
        """The endpoint's status in DescribeEndpoint and ListEndpoints."""
        if record["status"] != "InService" or now >= record["modified"] + self.endpoint_seconds:
            return str(record["status"])
        return "Creating" if record["generation"] == 1 else "Updating"


_KNOWN_AT_THE_END = {
    "TrainingEndTime",
    "TrainingTimeInSeconds",
    "BillableTimeInSeconds",
    "FailureReason",
    "FinalMetricDataList",
}
