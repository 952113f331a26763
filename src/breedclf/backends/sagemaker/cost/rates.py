"""AWS prices: a rate table that ships with breedclf, with sources and dates, and a table of the user."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from breedclf.config import Settings, read_settings
from breedclf.errors import ConfigError

Use = Literal["training", "hosting", "transform"]
_TABLE = "rates.json"


class Source(Settings):
    """The source of a price, and the date on which it was read (YYYY-MM-DD)."""

    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    text: str


class Rate(Settings):
    """A price in US dollars before discounts and taxes; `source` is a key of the table's `sources`."""

    usd: float = Field(ge=0, allow_inf_nan=False)
    source: str


class Region(Settings):
    """Prices of one region: per hour and instance type for each use; per second and memory (MB) if serverless."""

    training: dict[str, Rate] = Field(default_factory=dict)
    hosting: dict[str, Rate] = Field(default_factory=dict)
    transform: dict[str, Rate] = Field(default_factory=dict)
    serverless_second: dict[str, Rate] = Field(default_factory=dict)
    storage_gb_month: Rate | None = None


class Rates(Settings):
    """Prices by region. A missing price is unknown, and never replaced by that of another region or use.

    Raises:
        ConfigError: a price refers to a source that the table doesn't define.

    Example:
        >>> Rates.load().instance_hour("us-east-1", "training", "ml.m5.large").usd
        0.115
        >>> Rates.load().instance_hour("us-east-1", "training", "ml.p5.48xlarge") is None
        True
    """

    currency: Literal["USD"] = "USD"
    sources: dict[str, Source]
    regions: dict[str, Region]

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        for name, region in self.regions.items():
            tables = (region.training, region.hosting, region.transform, region.serverless_second)
            rates = [rate for table in tables for rate in table.values()]
            rates += [] if region.storage_gb_month is None else [region.storage_gb_month]
            if missing := sorted({rate.source for rate in rates} - set(self.sources)):
                raise ValueError(f"prices of {name} refer to {missing[0]!r}, which is missing in sources: add it")
        return self

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The table that ships with breedclf, overridden by the prices of a file (JSON, YAML or TOML).

        Raises:
            ConfigError: the file can't be read, or isn't a rate table.
        """
        with resources.as_file(resources.files(__package__) / _TABLE) as shipped:
            found = read_settings(shipped)
        if path is None:
            return cls(**found)
        try:
            return cls(**_merge(found, cls(**{"sources": {}, "regions": {}, **read_settings(path)}).to_prices()))
        except TypeError as error:
            raise ConfigError(f"rates={str(path)!r}: {error}") from error

    def to_prices(self) -> dict[str, Any]:
        """Plain values without unset ones."""
        return self.model_dump(mode="json", exclude_none=True)

    def instance_hour(self, region: str, use: Use, instance_type: str) -> Rate | None:
        """Price of one machine per hour; None if unknown."""
        found = self.regions.get(region)
        table: dict[str, Rate] = {} if found is None else getattr(found, use)
        return table.get(instance_type)

    def serverless_second(self, region: str, memory_mb: int) -> Rate | None:
        """Price of one second of serverless inference with this memory; None if unknown."""
        found = self.regions.get(region)
        return None if found is None else found.serverless_second.get(str(memory_mb))

    def storage_gb_month(self, region: str) -> Rate | None:
        """Price of one GB of disk per month; None if unknown."""
        found = self.regions.get(region)
        return None if found is None else found.storage_gb_month

    def date_of(self, rate: Rate) -> str:
        """The date on which the price was read."""
        return self.sources[rate.source].date


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge two tables; a price in `above` replaces the whole price in `below`."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict) and "usd" not in value
        merged[key] = _merge(below[key], value) if both else value
    return merged
