"""`Plan`: what a job, a search or an endpoint would create, its maximum cost, and the quotas that it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ApiCall:
    """One operation of a service with its parameters, as boto3 takes them.

    Example:
        >>> ApiCall("CreateModel", {"ModelName": "dogs"}).service
        'sagemaker'
    """

    operation: str
    parameters: Mapping[str, Any]
    service: str = "sagemaker"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"service": self.service, "operation": self.operation, "parameters": dict(self.parameters)}


@dataclass(frozen=True)
class Item:
    """One billed resource.

    `amount` is the maximum usage in `unit` (machine hours, GB-months or seconds; None if unbounded), `rate` the price
    of one unit in US dollars (None if unknown), and `unknown` explains what is missing. `price` is the machine's key
    in a region's rate table.

    Example:
        >>> Item("a machine", 2.0, "hour", 0.25, "2026-01-31").cost
        0.5
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
        """Maximum cost in US dollars; None if unknown."""
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
            f"(as of {self.rate_date}) = ${self.cost:,.2f}"
        )


@dataclass(frozen=True)
class Quota:
    """A quota by its name under Service Quotas > Amazon SageMaker, and the amount needed."""

    name: str
    needed: float


@dataclass(frozen=True)
class Plan:
    """What would be created, its maximum cost, and the quotas that the account needs."""

    region: str
    creates: tuple[str, ...]
    items: tuple[Item, ...]
    quotas: tuple[Quota, ...]
    hints: tuple[str, ...]
    calls: tuple[ApiCall, ...]

    @property
    def cost(self) -> float | None:
        """Maximum cost in US dollars; None if a part of it is unknown."""
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
        total = "unknown" if self.cost is None else f"at most ${self.cost:,.2f}"
        quotas = [f"{quota.name}: {quota.needed:g}" for quota in self.quotas]
        parts = [
            ("creates", self.creates),
            (f"costs {total}", [str(item) for item in self.items]),
            ("required quotas", quotas),
            ("notes", self.hints),
        ]
        return "\n".join("\n  ".join([f"{title}:", *lines]) for title, lines in parts if lines)

    def requests(self) -> str:
        """The exact requests, as JSON."""
        return json.dumps([call.to_dict() for call in self.calls], indent=2, default=str)
