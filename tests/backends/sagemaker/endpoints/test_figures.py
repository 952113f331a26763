"""What CloudWatch counts of an endpoint, and what it costs; boto3's client is the real one, so it checks requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.clients import AwsClients
from breedclf.backends.sagemaker.cost.rates import Rates
from breedclf.backends.sagemaker.endpoints.figures import FRESH_SECONDS, activity_from, cost_of, metrics_request
from breedclf.errors import EndpointError
from breedclf.jobs.endpoint_activity import Latency, MeasuredBackend, PricedBackend
from tests.fakes import FakeClock

NOW = 1_700_000_040.0
MINUTES = [datetime.fromtimestamp(NOW - 120, UTC), datetime.fromtimestamp(NOW - 60, UTC)]


class Response:
    """An answer of AWS, as far as boto3 looks at it."""

    def __init__(self, status: int) -> None:
        self.status_code = status


Answer = Callable[[], tuple[int, dict[str, Any]]]


def backend_with(answer: Answer, clock: FakeClock, home: Path) -> tuple[SageMakerBackend, list[str]]:
    """A backend whose CloudWatch answers this, and the operations that it was asked for."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    clients, asked = AwsClients(session), list[str]()

    def instead(model: Any, **_: Any) -> tuple[Response, dict[str, Any]]:
        asked.append(model.name)
        status, document = answer()
        return Response(status), {**document, "ResponseMetadata": {"HTTPStatusCode": status}}

    clients("cloudwatch").meta.events.register("before-call", instead)
    role = "arn:aws:iam::111122223333:role/breedclf"
    return SageMakerBackend(role, "images", clients=clients, home=home, clock=clock), asked


def series(name: str, *values: float) -> dict[str, Any]:
    """A metric with values in the first of the minutes."""
    return {"Id": name, "Label": name, "Timestamps": MINUTES[: len(values)], "Values": list(values)}


def test_the_hour_is_asked_for_once_a_minute(tmp_path: Path) -> None:
    results = [
        series("requests", 10, 4),
        series("failed", 1),
        series("refused", 0, 2),
        series("p50", 20_000),
        series("p90", 30_000),
        series("p99", 55_500),
    ]
    clock = FakeClock(NOW)
    backend, asked = backend_with(lambda: (200, {"MetricDataResults": results, "Messages": []}), clock, tmp_path)
    assert isinstance(backend, MeasuredBackend)
    assert isinstance(backend, PricedBackend)
    found = backend.endpoint_activity("dogs")
    assert (found.requests, found.client_errors, found.server_errors, found.latency) == (14, 2, 1, None)
    assert [(each.start, each.latency) for each in found.minutes] == [
        (NOW - 120, Latency(20.0, 30.0, 55.5)),
        (NOW - 60, None),
    ]
    clock.now += FRESH_SECONDS - 1
    assert backend.endpoint_activity("dogs") is found
    assert asked == ["GetMetricData"]
    clock.now += 1
    backend.endpoint_activity("dogs")
    assert asked == ["GetMetricData"] * 2


def test_a_missing_permission_is_named(tmp_path: Path) -> None:
    error = {"Code": "AccessDenied", "Message": "not authorized to perform: cloudwatch:GetMetricData"}
    backend, _ = backend_with(lambda: (403, {"Error": error}), FakeClock(NOW), tmp_path)
    with pytest.raises(EndpointError, match="metrics of endpoint dogs.*cloudwatch:GetMetricData"):
        backend.endpoint_activity("dogs")


def test_a_request_covers_the_last_hour_and_the_minute_that_runs() -> None:
    request = metrics_request("dogs", NOW + 10)
    assert (request["EndTime"] - request["StartTime"]).total_seconds() == 3600
    assert request["EndTime"].timestamp() == NOW + 60
    assert {each["MetricStat"]["Period"] for each in request["MetricDataQueries"]} == {60}
    assert activity_from([series("requests", 0)]).minutes == ()


def test_costs_of_machines_serverless_and_unknown_ones() -> None:
    rates = Rates.load()
    price = rates.instance_hour("us-east-1", "hosting", "ml.m5.xlarge")
    assert price is not None
    machine = {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 2}
    cost = cost_of(machine, 3.0, rates, "us-east-1")
    assert (cost.machines, cost.usd_per_hour) == ("2 x ml.m5.xlarge", 2 * price.usd)
    assert cost.usd == pytest.approx(6 * price.usd)
    assert cost_of(machine, None, rates, "us-east-1").usd is None
    unknown = cost_of({**machine, "InstanceType": "ml.none.large"}, 3.0, rates, "us-east-1")
    assert (unknown.usd, unknown.note) == (None, "the rate table has no price for ml.none.large in us-east-1")
    serverless = cost_of({"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5}}, 3.0, rates, "us-east-1")
    assert (serverless.machines, serverless.usd) == ("serverless, 3,072 MB", None)
