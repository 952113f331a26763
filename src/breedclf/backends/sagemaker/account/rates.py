"""What AWS asks for an hour of a machine: a table that came along, with its sources and days, and one of your own."""

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
    """Where a price was read, and on which day (YYYY-MM-DD)."""

    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    text: str


class Rate(Settings):
    """A price in US dollars, before discounts and taxes; `source` is a key of the table's sources."""

    usd: float = Field(ge=0, allow_inf_nan=False)
    source: str


class Region(Settings):
    """The prices of one region: by hour and machine for each use, by second and memory (MB) if serverless."""

    training: dict[str, Rate] = Field(default_factory=dict)
    hosting: dict[str, Rate] = Field(default_factory=dict)
    transform: dict[str, Rate] = Field(default_factory=dict)
    serverless_second: dict[str, Rate] = Field(default_factory=dict)
    storage_gb_month: Rate | None = None


class Rates(Settings):
    """Prices by region. What the table doesn't hold is unknown, and never taken from another region or use.

    Raises:
        ConfigError: a price names a source that the table doesn't tell.

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
    def _every_source_is_told(self) -> Self:
        for name, region in self.regions.items():
            tables = (region.training, region.hosting, region.transform, region.serverless_second)
            rates = [rate for table in tables for rate in table.values()]
            rates += [] if region.storage_gb_month is None else [region.storage_gb_month]
            if missing := sorted({rate.source for rate in rates} - set(self.sources)):
                raise ValueError(f"prices of {name} come from {missing[0]!r}, which sources doesn't tell: add it there")
        return self

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The table that came along; the prices of a file (JSON, YAML or TOML) take the place of its own.

        Raises:
            ConfigError: the file can't be read, or isn't such a table.
        """
        with resources.as_file(resources.files(__package__) / _TABLE) as shipped:
            found = read_settings(shipped)
        if path is None:
            return cls(**found)
        try:
            return cls(**_over(found, cls(**{"sources": {}, "regions": {}, **read_settings(path)}).to_prices()))
        except TypeError as error:
            raise ConfigError(f"rates={str(path)!r}: {error}") from error

    def to_prices(self) -> dict[str, Any]:
        """Plain values, without what isn't set."""
        return self.model_dump(mode="json", exclude_none=True)

    def instance_hour(self, region: str, use: Use, instance_type: str) -> Rate | None:
        """One machine for one hour; None when unknown."""
        found = self.regions.get(region)
        table: dict[str, Rate] = {} if found is None else getattr(found, use)
        return table.get(instance_type)

    def serverless_second(self, region: str, memory_mb: int) -> Rate | None:
        """One second of one answer with so much memory; None when unknown."""
        found = self.regions.get(region)
        return None if found is None else found.serverless_second.get(str(memory_mb))

    def storage_gb_month(self, region: str) -> Rate | None:
        """One GB of a machine's disk for a month; None when unknown."""
        found = self.regions.get(region)
        return None if found is None else found.storage_gb_month

    def date_of(self, rate: Rate) -> str:
        """The day on which the price was read."""
        return self.sources[rate.source].date


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """A table with the entries of another one over it; one price replaces another one whole."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict) and "usd" not in value
        merged[key] = _over(below[key], value) if both else value
    return merged
