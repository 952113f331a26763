"""What calls to AWS would make, what that may cost at most, and which quotas it needs, before any is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from breedclf.backends.sagemaker.account.rates import Rate, Rates, Use
from breedclf.backends.sagemaker.api_call import ApiCall, as_json
from breedclf.errors import ConfigError

UPDATE_SECONDS = 3_600  # how long an update takes at most
HOURS_A_MONTH = 730  # as AWS counts
_HOUR_SECONDS = 3_600
_LONGEST_RUN = "Longest run time for a training job"
_SERVERLESS_QUOTA = "Maximum total concurrency that can be allocated across all serverless endpoints"
_USUAL_PARALLEL_JOBS = 10
_NOT_COUNTED = "not counted: requests to S3, logs, traffic between regions, taxes, discounts and free tiers"


@dataclass(frozen=True)
class Item:
    """One thing that is paid for.

    `amount` is how much of it at most (machine hours, GB-months or seconds; None without an end), `rate` what one of
    these costs (None when unknown), and `unknown` says in words what is missing; `price` is where in a region's table
    of rates a machine's price is looked up.
    """

    what: str
    amount: float | None
    unit: str
    rate: float | None
    rate_date: str | None
    unknown: str | None = None
    price: tuple[str, str] | None = None

    @property
    def cost(self) -> float | None:
        """US dollars at most; None when that is unknown."""
        return None if self.amount is None or self.rate is None else self.amount * self.rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {key: value for key, value in vars(self).items() if key != "price"} | {"cost": self.cost}

    def __str__(self) -> str:
        if self.cost is None:
            price = "" if self.rate is None else f" (${self.rate:g} per {self.unit})"
            return f"{self.what}: unknown, {self.unknown}{price}"
        return (
            f"{self.what}: at most {self.amount:,.2f} {self.unit}s at ${self.rate:g} "
            f"(read {self.rate_date}) = ${self.cost:,.2f}"
        )


@dataclass(frozen=True)
class Quota:
    """A quota by its name under Service Quotas > Amazon SageMaker, and how much of it this needs."""

    name: str
    needed: float


@dataclass(frozen=True)
class Plan:
    """What would be made, what it may cost at most, and what the account has to allow."""

    region: str
    creates: tuple[str, ...]
    items: tuple[Item, ...]
    quotas: tuple[Quota, ...]
    hints: tuple[str, ...]
    calls: tuple[ApiCall, ...]

    @property
    def cost(self) -> float | None:
        """US dollars at most; None when a part is unknown."""
        costs = [item.cost for item in self.items]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "region": self.region,
            "creates": list(self.creates),
            "cost": self.cost,
            "items": [item.to_dict() for item in self.items],
            "quotas": [vars(quota) for quota in self.quotas],
            "hints": list(self.hints),
            "calls": [call.to_dict() for call in self.calls],
        }

    def __str__(self) -> str:
        total = "unknown" if self.cost is None else f"${self.cost:,.2f} at most"
        quotas = [f"{quota.name}: {quota.needed:g}" for quota in self.quotas]
        parts = [
            ("creates", self.creates),
            (f"costs {total}", [str(item) for item in self.items]),
            ("needs these quotas", quotas),
            ("mind", self.hints),
        ]
        return "\n".join("\n  ".join([f"{title}:", *lines]) for title, lines in parts if lines)

    def requests(self) -> str:
        """The exact requests, as JSON."""
        return as_json(self.calls)

    def refuse_above(self, max_cost: float | None) -> None:
        """Let it pass when it can't cost more than so many US dollars; None lets everything pass.

        Raises:
            ConfigError: it may cost more, or nobody knows.
        """
        if max_cost is None:
            return
        lines = "\n  ".join(str(item) for item in self.items)
        if self.cost is None:
            raise ConfigError(
                f"what this costs is unknown, and max_cost={max_cost:g} is set:\n  {lines}\n"
                f"{self._remedy()}, or leave max_cost out"
            )
        if self.cost > max_cost:
            raise ConfigError(
                f"this may cost up to ${self.cost:,.2f}, more than max_cost=${max_cost:,.2f}:\n  {lines}\n"
                "shorten the longest run time, take fewer or smaller machines, or raise max_cost"
            )

    def _remedy(self) -> str:
        """What would make the cost known."""
        prices = [item.price for item in self.items if item.price is not None and item.rate is None]
        if not prices:
            return (
                "let AWS end it (endpoint_end_role=ARN and a time to live), serve without machines of your own "
                "(serverless_memory_mb), which costs nothing while nobody asks"
            )
        sources = {"mine": {"date": "YYYY-MM-DD", "text": "WHERE YOU READ IT"}}
        regions: dict[str, Any] = {}
        for table, machine in prices:
            regions.setdefault(table, {})[machine] = {"usd": "PRICE", "source": "mine"}
        file = json.dumps({"sources": sources, "regions": {self.region: regions}})
        return f"add the price by rates=FILE, a file that holds {file}"


@dataclass(frozen=True)
class _Parts:
    creates: str
    items: tuple[Item, ...] = ()
    quotas: tuple[Quota, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Prices:
    """Prices of the region; `seconds` is how long an endpoint is to live, `ended_by_aws` whether AWS sees to that."""

    rates: Rates
    region: str
    seconds: float | None
    ended_by_aws: bool

    def machine_hours(self, what: str, use: Use, instance_type: str, hours: float | None) -> Item:
        rate = self.rates.instance_hour(self.region, use, instance_type)
        missing = f"no price of {instance_type} for {use} in {self.region}"
        return replace(self._item(what, hours, "hour", rate, missing), price=(use, instance_type))

    def disk(self, gigabytes: float, hours: float | None) -> Item:
        rate = self.rates.storage_gb_month(self.region)
        months = None if hours is None else gigabytes * hours / HOURS_A_MONTH
        return self._item(f"its disk of {gigabytes:g} GB", months, "GB-month", rate, f"no price of it in {self.region}")

    def answers(self, what: str, memory_mb: int, seconds: float | None) -> Item:
        rate = self.rates.serverless_second(self.region, memory_mb)
        return self._item(what, seconds, "second", rate, f"no price of {memory_mb} MB serverless in {self.region}")

    def _item(self, what: str, amount: float | None, unit: str, rate: Rate | None, missing: str) -> Item:
        unknown = f"{missing} in the table of rates" if rate is None else None
        if amount is None:
            unknown = f"it runs until it is deleted; {unknown}" if unknown else "it runs until it is deleted"
        date = None if rate is None else self.rates.date_of(rate)
        return Item(what, amount, unit, None if rate is None else rate.usd, date, unknown)


def plan_of(
    calls: Sequence[ApiCall],
    rates: Rates,
    *,
    region: str,
    seconds: float | None = None,
    ended_by_aws: bool = False,
    replaced: Mapping[str, Any] | None = None,
) -> Plan:
    """What these calls come to.

    Args:
        calls: what would be sent.
        rates: the prices.
        region: where.
        seconds: how long an endpoint is to live, None without an end.
        ended_by_aws: whether AWS deletes the endpoint then; otherwise nothing bounds what it costs.
        replaced: the configuration whose machines run on until an update is through.

    Raises:
        ConfigError: a call breaks the service's own rules, or makes something whose price this doesn't know to count.
    """
    prices = _Prices(rates, region, seconds, ended_by_aws)
    parts = [] if replaced is None else [_replaced(replaced, prices)]
    for call in calls:
        reader = _READERS.get(call.operation)
        if reader is None:
            raise ConfigError(f"{call.operation} is no call that breedclf plans: {', '.join(sorted(_READERS))}")
        parts.append(reader(call.checked().parameters, prices))
    return Plan(
        region=region,
        creates=tuple(part.creates for part in parts if part.creates),
        items=tuple(item for part in parts for item in part.items),
        quotas=_added_up(quota for part in parts for quota in part.quotas),
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
        hints = (*hints, f"{parallel} jobs at a time: an account may run {_USUAL_PARALLEL_JOBS} of a search by default")
    return _Parts(f"{what}, {parallel} at a time", items, quotas, hints)


def _machines(
    what: str, request: Mapping[str, Any], prices: _Prices, *, jobs: int, parallel: int, longest: float | None
) -> tuple[tuple[Item, ...], tuple[Quota, ...], tuple[str, ...]]:
    """The machines and disks of training jobs, each running as long as it may."""
    resources, spot = request["ResourceConfig"], request.get("EnableManagedSpotTraining", False)
    machine, count = resources["InstanceType"], resources["InstanceCount"]
    seconds = request["StoppingCondition"]["MaxRuntimeInSeconds"]
    together = jobs * seconds * (1 + request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))
    if longest is not None:
        together = min(together, parallel * longest)
    hours = count * together / _HOUR_SECONDS
    label = f"{what}, {count} x {machine}, {seconds / _HOUR_SECONDS:g} h each at most"
    items = (prices.machine_hours(label, "training", machine, hours), prices.disk(resources["VolumeSizeInGB"], hours))
    usage = "spot training job usage" if spot else "training job usage"
    quotas = (Quota(f"{machine} for {usage}", count * parallel), Quota(_LONGEST_RUN, seconds))
    cheaper = ("spot: AWS bills fewer seconds than the job runs; how many is told after it",) if spot else ()
    kept = "models and outputs stay in S3 until they are deleted (`breedclf sagemaker list` tells their size)"
    return items, quotas, (*cheaper, kept)


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
        "a batch transform has no longest run time" + (f"; {item.unknown}" if item.rate is None else ""),
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
            items.append(prices.answers(f"endpoint of {name}, {memory} MB, {together} at a time", memory, seconds))
            quotas.append(Quota(_SERVERLESS_QUOTA, together))
            hints.append("serverless: costs nothing while nobody asks; the estimate has it answer all the time")
        else:
            machine, count = variant["InstanceType"], variant["InitialInstanceCount"]
            hours = None if prices.seconds is None else count * prices.seconds / _HOUR_SECONDS
            item = prices.machine_hours(f"endpoint of {name}, {count} x {machine}", "hosting", machine, hours)
            items.append(item if prices.ended_by_aws else _without_end(item))
            quotas.append(Quota(f"{machine} for endpoint usage", count))
            hints.append("an endpoint costs by the hour until it is deleted, asked or not")
    return _Parts(f"endpoint configuration {name}", tuple(items), tuple(quotas), tuple(hints))


def _without_end(item: Item) -> Item:
    """An endpoint whose time to live is a tag: what it costs if somebody deletes it then, which AWS doesn't do."""
    if item.cost is None:
        return item
    told = f"nothing in AWS deletes it when its time is over; ${item.cost:,.2f} if you do"
    return replace(item, amount=None, unknown=told)


def _replaced(config: Mapping[str, Any], prices: _Prices) -> _Parts:
    """The machines before an update, which run beside the new ones until it is through."""
    items = []
    for variant in config["ProductionVariants"]:
        if "ServerlessConfig" not in variant:
            machine, count = variant["InstanceType"], variant["InitialInstanceCount"]
            what = f"{count} x {machine} of {config['EndpointConfigName']}, until the update is through"
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
    """A grid of categorical parameters without a number of jobs has one for each combination."""
    size = 1
    for each in ranges.get("CategoricalParameterRanges", []):
        size *= len(each["Values"])
    return size


def _added_up(quotas: Iterable[Quota]) -> tuple[Quota, ...]:
    """Each quota once: machines add up, the longest run time doesn't."""
    found: dict[str, float] = {}
    for quota in quotas:
        before = found.get(quota.name, 0)
        found[quota.name] = max(before, quota.needed) if quota.name == _LONGEST_RUN else before + quota.needed
    return tuple(Quota(name, needed) for name, needed in found.items())
