"""The metric history of a job: read from its log, completed with SageMaker's final values."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from breedclf.backends.sagemaker.training.description import final_metrics
from breedclf.backends.sagemaker.training.logs import JobLogs
from breedclf.errors import JobError
from breedclf.jobs import MetricRecord
from breedclf.jobs.metric_lines import MetricDefinition, match_metrics

log: logging.Logger = logging.getLogger(__name__)

_FLOAT32_TOLERANCE = 1e-5  # relative: SageMaker returns the final values as 32-bit floats


def logged_metrics(logs: JobLogs, answer: Mapping[str, Any]) -> list[MetricRecord]:
    """The metrics in the job's log, in order; empty if the log can't be read.

    Args:
        logs: the logs of all jobs.
        answer: the response of DescribeTrainingJob.
    """
    try:
        return list(_records(logs, answer))
    except JobError as error:
        log.warning("%s; only the final metric values are available", error)
        return []


def missing_values(records: Sequence[MetricRecord], final: Mapping[str, float]) -> dict[str, float]:
    """The final values that differ from the last recorded ones, or were never recorded.

    Example:
        >>> missing_values([MetricRecord(0, {"loss": 0.5})], {"loss": 0.5, "accuracy": 0.9})
        {'accuracy': 0.9}
    """
    last: dict[str, float] = {}
    for record in records:
        last |= record.values
    return {
        name: value
        for name, value in final.items()
        if name not in last or not math.isclose(last[name], value, rel_tol=_FLOAT32_TOLERANCE)
    }


def with_final_values(records: Sequence[MetricRecord], answer: Mapping[str, Any], *, ended: bool) -> list[MetricRecord]:
    """The records, followed by one with the final values that they lack, if the job has ended or nothing was logged."""
    missing = missing_values(records, final_metrics(answer)) if ended or not records else {}
    if not missing:
        return list(records)
    if records:
        log.warning(
            "the log of job %s lacks the final value of %s", answer["TrainingJobName"], ", ".join(sorted(missing))
        )
    moment = max(each["Timestamp"] for each in answer["FinalMetricDataList"]).timestamp()
    return [*records, MetricRecord(moment, missing)]


def _records(logs: JobLogs, answer: Mapping[str, Any]) -> Iterator[MetricRecord]:
    definitions = [
        MetricDefinition(each["Name"], each["Regex"])
        for each in answer["AlgorithmSpecification"].get("MetricDefinitions", ())
    ]
    position, created = 0, answer["CreationTime"].timestamp()
    while True:
        events, position = logs.read(answer["TrainingJobName"], position, created=created)
        if not events:
            return
        for event in events:
            if values := match_metrics(event.message, definitions):
                yield MetricRecord(event.time, values)
