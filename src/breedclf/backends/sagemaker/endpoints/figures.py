"""What CloudWatch counts of an endpoint, and what its machines have cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from breedclf.backends.sagemaker.aws_errors import translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.cost.rates import Rates
from breedclf.backends.sagemaker.endpoints.inspector import EndpointInspector, no_endpoint
from breedclf.backends.sagemaker.endpoints.request import VARIANT
from breedclf.backends.sagemaker.timestamps import epoch_seconds
from breedclf.errors import EndpointError
from breedclf.jobs.endpoint_activity import ACTIVITY_MINUTES, ActivityMinute, EndpointActivity, EndpointCost, Latency
from breedclf.jobs.endpoints import EndpointStatus

FRESH_SECONDS = 60.0  # CloudWatch's metrics have one value a minute, and each request for them costs money
_HOUR_SECONDS = 3600.0
_METRICS = {
    "requests": ("Invocations", "Sum"),
    "refused": ("Invocation4XXErrors", "Sum"),
    "failed": ("Invocation5XXErrors", "Sum"),
    "p50": ("ModelLatency", "p50"),
    "p90": ("ModelLatency", "p90"),
    "p99": ("ModelLatency", "p99"),
}


class EndpointFigures:
    """The figures of the endpoints of one account and region."""

    def __init__(self, context: AwsContext, inspector: EndpointInspector) -> None:
        self._context = context
        self._inspector = inspector
        self._found: dict[str, tuple[float, EndpointActivity]] = {}
        self._configs: dict[str, Mapping[str, Any]] = {}

    def activity(self, name: str) -> EndpointActivity:
        """The requests of the last hour by CloudWatch, which is asked at most once a minute.

        Raises:
            EndpointError: CloudWatch can't be asked, for instance without the permission cloudwatch:GetMetricData.
        """
        clock = self._context.clock
        found = self._found.get(name)
        if found is None or clock.monotonic() - found[0] >= FRESH_SECONDS:
            now = clock.time()
            with translate_aws_errors(f"reading the metrics of endpoint {name}", as_=EndpointError):
                pages = self._context.clients("cloudwatch").get_paginator("get_metric_data")
                results = [
                    each for page in pages.paginate(**metrics_request(name, now)) for each in page["MetricDataResults"]
                ]
            self._found[name] = found = clock.monotonic(), activity_from(results)
        return found[1]

    def cost(self, name: str) -> EndpointCost:
        """What the endpoint's present machines cost, from its creation to now.

        Raises:
            EndpointError: there is no such endpoint, or it can't be described.
        """
        view = self._inspector.view(name)
        if view is None:
            raise no_endpoint(name, self._context.region)
        if view.config not in self._configs:
            with translate_aws_errors(f"describing endpoint configuration {view.config}", as_=EndpointError):
                client = self._context.clients("sagemaker")
                self._configs[view.config] = client.describe_endpoint_config(EndpointConfigName=view.config)
        failed = view.description.status is EndpointStatus.FAILED
        hours = (self._context.clock.time() - view.description.created) / _HOUR_SECONDS
        variant = self._configs[view.config]["ProductionVariants"][0]
        return cost_of(variant, None if failed else max(0.0, hours), self._context.rates, self._context.region)


def metrics_request(name: str, now: float) -> dict[str, Any]:
    """The parameters of GetMetricData for an endpoint's last hour."""
    dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": VARIANT}]
    end = 60 * (int(now) // 60 + 1)
    return {
        "MetricDataQueries": [
            {
                "Id": key,
                "MetricStat": {
                    "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions},
                    "Period": 60,
                    "Stat": statistic,
                },
            }
            for key, (metric, statistic) in _METRICS.items()
        ],
        "StartTime": datetime.fromtimestamp(end - 60 * ACTIVITY_MINUTES, UTC),
        "EndTime": datetime.fromtimestamp(end, UTC),
    }


def activity_from(results: Iterable[Mapping[str, Any]]) -> EndpointActivity:
    """The activity in responses of GetMetricData; without percentiles of the whole hour, which it doesn't have.

    Example:
        >>> activity_from([]).requests
        0
    """
    values: dict[str, dict[float, float]] = {key: {} for key in _METRICS}
    for each in results:
        for moment, value in zip(each["Timestamps"], each["Values"], strict=True):
            values[each["Id"]][epoch_seconds(moment)] = float(value)
    minutes = tuple(
        ActivityMinute(
            moment,
            round(count),
            round(values["refused"].get(moment, 0)),
            round(values["failed"].get(moment, 0)),
            _latency([values[key].get(moment) for key in ("p50", "p90", "p99")]),
        )
        for moment, count in sorted(values["requests"].items())
        if count
    )
    return EndpointActivity(
        sum(each.requests for each in minutes),
        sum(each.client_errors for each in minutes),
        sum(each.server_errors for each in minutes),
        minutes=minutes,
        last_request=minutes[-1].start if minutes else None,
    )


def cost_of(variant: Mapping[str, Any], hours: float | None, rates: Rates, region: str) -> EndpointCost:
    """What a variant of an endpoint costs; `hours` is how long it has existed, None if it never ran."""
    if serverless := variant.get("ServerlessConfig"):
        return EndpointCost(
            f"serverless, {serverless['MemorySizeInMB']:,} MB", None, None, "billed by the seconds of its requests"
        )
    machine, count = variant["InstanceType"], int(variant["InitialInstanceCount"])
    machines = f"{count} x {machine}"
    rate = rates.instance_hour(region, "hosting", machine)
    if rate is None:
        return EndpointCost(machines, None, None, f"the rate table has no price for {machine} in {region}")
    hourly = count * rate.usd
    if hours is None:
        return EndpointCost(machines, hourly, None, "it failed, and isn't billed")
    return EndpointCost(machines, hourly, hourly * hours, f"since its creation, at prices of {rates.date_of(rate)}")


def _latency(microseconds: Sequence[float | None]) -> Latency | None:
    found = [each / 1000 for each in microseconds if each is not None]
    return Latency(*found) if len(found) == 3 else None
