"""Estimates what API calls would create, their maximum cost and the quotas they need."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.cost.rates import Rate, Rates, Use
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import is_s3
from breedclf.jobs.plan import ApiCall, Item, Plan, Quota

UPDATE_SECONDS = 3_600  # maximum duration of an endpoint update
HOURS_A_MONTH = 730  # as AWS bills
_HOUR_SECONDS = 3_600
_LONGEST_RUN = "Longest run time for a training job"
_SERVERLESS_QUOTA = "Maximum total concurrency that can be allocated across all serverless endpoints"
_USUAL_PARALLEL_JOBS = 10
_DECIDE_FEATURES = {"augment", "dct_scaling", "engine", "freeze", "precision", "views", "weights"}
_NOT_COUNTED = "not included: S3 requests, logs, traffic between regions, taxes, discounts and free tiers"


@dataclass(frozen=True)
class _Parts:
    creates: str
    items: tuple[Item, ...] = ()
    quotas: tuple[Quota, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Prices:
    """Prices of one region; `seconds` is an endpoint's lifetime, `ended_by_aws` whether AWS enforces it."""

    rates: Rates
    region: str
    seconds: float | None
    ended_by_aws: bool

    def machine_hours(self, what: str, use: Use, instance_type: str, hours: float | None) -> Item:
        rate = self.rates.instance_hour(self.region, use, instance_type)
        missing = f"no price for {instance_type} ({use}) in {self.region}"
        return replace(self._item(what, hours, "hour", rate, missing), price=(use, instance_type))

    def disk(self, gigabytes: float, hours: float | None) -> Item:
        rate = self.rates.storage_gb_month(self.region)
        months = None if hours is None else gigabytes * hours / HOURS_A_MONTH
        return self._item(f"{gigabytes:g} GB disk", months, "GB-month", rate, f"no disk price for {self.region}")

    def serverless(self, what: str, memory_mb: int, seconds: float | None) -> Item:
        rate = self.rates.serverless_second(self.region, memory_mb)
        return self._item(what, seconds, "second", rate, f"no price for {memory_mb} MB serverless in {self.region}")

    def _item(self, what: str, amount: float | None, unit: str, rate: Rate | None, missing: str) -> Item:
        unknown = f"{missing} in the rate table" if rate is None else None
        if amount is None:
            unknown = f"it runs until you delete it; {unknown}" if unknown else "it runs until you delete it"
        date = None if rate is None else self.rates.date_of(rate)
        return Item(what, amount, unit, None if rate is None else rate.usd, date, unknown)


def require_affordable(plan: Plan, max_cost: float | None) -> None:
    """Do nothing if the plan's maximum cost is at most `max_cost` US dollars, or if that is None.

    Raises:
        ConfigError: it may cost more, or the cost is unknown.
    """
    if max_cost is None:
        return
    lines = "\n  ".join(str(item) for item in plan.items)
    if plan.cost is None:
        raise ConfigError(
            f"the cost is unknown, but max_cost={max_cost:g} is set:\n  {lines}\n{_remedy(plan)}, or remove max_cost"
        )
    if plan.cost > max_cost:
        raise ConfigError(
            f"this may cost up to ${plan.cost:,.2f}, more than max_cost=${max_cost:,.2f}:\n  {lines}\n"
            "shorten the maximum run time, use fewer or smaller machines, or raise max_cost"
        )


def _remedy(plan: Plan) -> str:
    """How to make the cost known."""
    prices = [item.price for item in plan.items if item.price is not None and item.rate is None]
    if not prices:
        return (
            "let AWS delete the endpoint (endpoint_end_role=ARN and a time to live), use a serverless endpoint "
            "(serverless_memory_mb), which costs nothing while idle"
        )
    sources = {"mine": {"date": "YYYY-MM-DD", "text": "WHERE YOU READ IT"}}
    regions: dict[str, Any] = {}
    for table, machine in prices:
        regions.setdefault(table, {})[machine] = {"usd": "PRICE", "source": "mine"}
    file = json.dumps({"sources": sources, "regions": {plan.region: regions}})
    return f"add the price with rates=FILE, where FILE contains {file}"


def estimate(
    calls: Sequence[ApiCall],
    rates: Rates,
    *,
    region: str,
    seconds: float | None = None,
    ended_by_aws: bool = False,
    replaced: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan for these calls.

    Args:
        calls: the calls that would be sent.
        rates: the price table.
        region: the target region.
        seconds: lifetime of an endpoint; None if unlimited.
        ended_by_aws: whether AWS deletes the endpoint at that time; otherwise the cost is unbounded.
        replaced: the endpoint configuration whose machines keep running until the update completes.

    Raises:
        ConfigError: a call is invalid, or its cost can't be estimated.
    """
    prices = _Prices(rates, region, seconds, ended_by_aws)
    parts = [] if replaced is None else [_replaced(replaced, prices)]
    for call in calls:
        reader = _READERS.get(call.operation)
        if reader is None:
            raise ConfigError(f"can't plan {call.operation}; supported: {', '.join(sorted(_READERS))}")
        parts.append(reader(validate_call(call).parameters, prices))
    return Plan(
        region=region,
        creates=tuple(part.creates for part in parts if part.creates),
        items=tuple(item for part in parts for item in part.items),
        quotas=_merge_quotas(quota for part in parts for quota in part.quotas),
        hints=(*dict.fromkeys(hint for part in parts for hint in part.hints), _NOT_COUNTED),
        calls=tuple(calls),
    )


def _training(request: Mapping[str, Any], prices: _Prices) -> _Parts:
    name = request["TrainingJobName"]
    items, quotas, hints = _machines(f"training job {name}", request, prices, jobs=1, parallel=1, longest=None)
    return _Parts(f"training job {name}", items, quotas, hints)


def _tuning(request: Mapping[str, Any], prices: _Prices) -> _Parts:
    name, job = request["HyperParameterTuningJobName"], request["TrainingJobDefinition"]
    config = request["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    jobs = limits.get("MaxNumberOfTrainingJobs") or _grid_size(config["ParameterRanges"])
    parallel = min(limits["MaxParallelTrainingJobs"], jobs)
    what = f"tuning job {name}, {jobs} training jobs"
    items, quotas, hints = _machines(
        what, job, prices, jobs=jobs, parallel=parallel, longest=limits.get("MaxRuntimeInSeconds")
    )
    if parallel > _USUAL_PARALLEL_JOBS:
        hints = (*hints, f"{parallel} parallel jobs: the default limit per tuning job is {_USUAL_PARALLEL_JOBS}")
    return _Parts(f"{what}, {parallel} in parallel", items, quotas, (*hints, *_passes(job, config, jobs)))


def _passes(job: Mapping[str, Any], config: Mapping[str, Any], jobs: int) -> tuple[str, ...]:
    """How often each image passes through a backbone in a search that trains heads only on the same features."""
    networks = next(
        (
            len(each["Values"])
            for each in config["ParameterRanges"].get("CategoricalParameterRanges", ())
            if each["Name"] == "architecture"
        ),
        1,
    )
    if networks >= jobs:
        return ()
    once = "once" if networks == 1 else f"once per network ({networks} times)"
    settings = job.get("StaticHyperParameters", {})
    searched = {each["Name"] for ranges in config["ParameterRanges"].values() for each in ranges}
    if searched & _DECIDE_FEATURES or settings.get("freeze", "head") != "head":
        return ()
    if settings.get("feature_cache") == "false":
        return ()
    store = settings.get("feature_store", "")
    if is_s3(store):
        return (f"each image passes through the backbone {once} instead of {jobs} times: jobs share {store}",)
    return (f"each image passes through the backbone {jobs} times; {once} with feature_store=s3://BUCKET/PREFIX",)


def _machines(
    what: str, request: Mapping[str, Any], prices: _Prices, *, jobs: int, parallel: int, longest: float | None
) -> tuple[tuple[Item, ...], tuple[Quota, ...], tuple[str, ...]]:
    """The machines and disks of training jobs, each running for its maximum time."""
    resources, spot = request["ResourceConfig"], request.get("EnableManagedSpotTraining", False)
    machine, count = resources["InstanceType"], resources["InstanceCount"]
    seconds = request["StoppingCondition"]["MaxRuntimeInSeconds"]
    together = jobs * seconds * (1 + request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))
    if longest is not None:
        together = min(together, parallel * longest)
    hours = count * together / _HOUR_SECONDS
    label = f"{what}, {count} x {machine}, at most {seconds / _HOUR_SECONDS:g} h each"
    items = (prices.machine_hours(label, "training", machine, hours), prices.disk(resources["VolumeSizeInGB"], hours))
    usage = "spot training job usage" if spot else "training job usage"
    quotas = (Quota(f"{machine} for {usage}", count * parallel), Quota(_LONGEST_RUN, seconds))
    cheaper = ("spot: AWS bills fewer seconds than the job runs; the number is known after it ends",) if spot else ()
    stored = "models and outputs stay in S3 until you delete them (`breedclf sagemaker list` shows their size)"
    return items, quotas, (*cheaper, stored)


def _transform(request: Mapping[str, Any], prices: _Prices) -> _Parts:
    name, resources = request["TransformJobName"], request["TransformResources"]
    machine, count = resources["InstanceType"], resources["InstanceCount"]
    item = prices.machine_hours(f"transform job {name}, {count} x {machine}", "transform", machine, None)
    unbounded = Item(
        item.what,
        None,
        item.unit,
        item.rate,
        item.rate_date,
        "a batch transform has no maximum run time" + (f"; {item.unknown}" if item.rate is None else ""),
    )
    return _Parts(f"transform job {name}", (unbounded,), (Quota(f"{machine} for transform job usage", count),))


def _endpoint_config(request: Mapping[str, Any], prices: _Prices) -> _Parts:
    name = request["EndpointConfigName"]
    items: list[Item] = []
    quotas: list[Quota] = []
    hints: list[str] = []
    for variant in request["ProductionVariants"]:
        if serverless := variant.get("ServerlessConfig"):
            memory, together = serverless["MemorySizeInMB"], serverless["MaxConcurrency"]
            seconds = None if prices.seconds is None else together * prices.seconds
            items.append(
                prices.serverless(f"endpoint of {name}, {memory} MB, {together} concurrent requests", memory, seconds)
            )
            quotas.append(Quota(_SERVERLESS_QUOTA, together))
            hints.append("serverless: no cost while idle; the estimate assumes constant load")
        else:
            machine, count = variant["InstanceType"], variant["InitialInstanceCount"]
            hours = None if prices.seconds is None else count * prices.seconds / _HOUR_SECONDS
            item = prices.machine_hours(f"endpoint of {name}, {count} x {machine}", "hosting", machine, hours)
            items.append(item if prices.ended_by_aws else _without_end(item))
            quotas.append(Quota(f"{machine} for endpoint usage", count))
            hints.append("an endpoint is billed by the hour until it is deleted, even when idle")
    return _Parts(f"endpoint configuration {name}", tuple(items), tuple(quotas), tuple(hints))


def _without_end(item: Item) -> Item:
    """An endpoint whose lifetime is only a tag: its cost is unbounded, since AWS doesn't delete it."""
    if item.cost is None:
        return item
    unknown = f"AWS doesn't delete it when it expires; ${item.cost:,.2f} if you do"
    return replace(item, amount=None, unknown=unknown)


def _replaced(config: Mapping[str, Any], prices: _Prices) -> _Parts:
    """The old machines, which run beside the new ones until an update completes."""
    items = []
    for variant in config["ProductionVariants"]:
        if "ServerlessConfig" not in variant:
            machine, count = variant["InstanceType"], variant["InitialInstanceCount"]
            what = f"{count} x {machine} of {config['EndpointConfigName']}, until the update completes"
            items.append(prices.machine_hours(what, "hosting", machine, count * UPDATE_SECONDS / _HOUR_SECONDS))
    return _Parts("", tuple(items))


def _free(kind: str, key: str) -> Callable[[Mapping[str, Any], _Prices], _Parts]:
    return lambda request, _prices: _Parts(f"{kind} {request[key]}")


_READERS: dict[str, Callable[[Mapping[str, Any], _Prices], _Parts]] = {
    "CreateTrainingJob": _training,
    "CreateHyperParameterTuningJob": _tuning,
    "CreateTransformJob": _transform,
    "CreateModel": _free("model", "ModelName"),
    "CreateEndpointConfig": _endpoint_config,
    "CreateEndpoint": _free("endpoint", "EndpointName"),
    "UpdateEndpoint": _free("new configuration of endpoint", "EndpointName"),
}


def _grid_size(ranges: Mapping[str, Any]) -> int:
    """Without a job limit, a grid has one job per combination of its categorical values."""
    size = 1
    for each in ranges.get("CategoricalParameterRanges", []):
        size *= len(each["Values"])
    return size


def _merge_quotas(quotas: Iterable[Quota]) -> tuple[Quota, ...]:
    """Each quota once: machine counts add up; for the longest run time, the maximum counts."""
    found: dict[str, float] = {}
    for quota in quotas:
        before = found.get(quota.name, 0)
        found[quota.name] = max(before, quota.needed) if quota.name == _LONGEST_RUN else before + quota.needed
    return tuple(Quota(name, needed) for name, needed in found.items())
