"""Findings, and how rules are declared: plain functions of a profile and keyword parameters."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, validate_call

from breedclf.config import nearest
from breedclf.errors import ConfigError
from breedclf.profiling.profile import Profile

FindingStatus = Literal["ok", "issue", "not_applicable", "no_data"]
AtLeastOne = Annotated[int, Field(ge=1)]
Group = Literal["steps", "loading", "system", "tensors", "learning", "summary", "your own"]


class Finding(BaseModel):
    """The result of a rule for one run.

    `evidence` is a sentence with the decisive numbers; `advice` says what to change; `changes` are settings to try,
    which `verify()` measures; `times_triggered` counts the evaluations in which the rule fired (breedclf's rules
    evaluate the whole run once, SageMaker's repeatedly while it lasts); `violations` counts the datapoints beyond the
    limit; `details` holds tables.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    rule: str = ""
    status: FindingStatus
    evidence: str
    advice: str = ""
    datapoints: int = 0
    times_triggered: int = 0
    violations: int = Field(default=0, validation_alias=AliasChoices("violations", "triggers"))
    parameters: dict[str, Any] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def triggers(self) -> int:
        """The earlier name of `violations`."""
        return self.violations


def ok(
    evidence: str,
    *,
    datapoints: int,
    advice: str = "",
    changes: Mapping[str, object] | None = None,
    details: Mapping[str, object] | None = None,
) -> Finding:
    """The rule was evaluated and found no issue."""
    return Finding(
        status="ok",
        evidence=evidence,
        advice=advice,
        datapoints=datapoints,
        changes=dict(changes or {}),
        details=dict(details or {}),
    )


def issue(
    evidence: str,
    advice: str,
    *,
    datapoints: int,
    triggers: int = 1,
    changes: Mapping[str, object] | None = None,
    details: Mapping[str, object] | None = None,
) -> Finding:
    """The rule found an issue, in `triggers` datapoints; `advice` says what to do."""
    return Finding(
        status="issue",
        evidence=evidence,
        advice=advice,
        datapoints=datapoints,
        times_triggered=1,
        violations=triggers,
        changes=dict(changes or {}),
        details=dict(details or {}),
    )


def no_data(evidence: str, *, datapoints: int = 0) -> Finding:
    """The profile has no data, or too little, for the rule. This is not a pass."""
    return Finding(status="no_data", evidence=evidence, datapoints=datapoints)


def not_applicable(evidence: str) -> Finding:
    """The rule doesn't apply to such a run, for instance if there is no GPU."""
    return Finding(status="not_applicable", evidence=evidence)


@dataclass(frozen=True)
class Rule:
    """A named check with its default parameters.

    Attributes:
        check: `check(profile, **parameters) -> Finding`; the defaults of its keywords are the rule's defaults.
        about: what the rule detects, in one sentence.
        differs: how and why it differs from SageMaker Debugger's rule of the same name.
    """

    name: str
    check: Callable[..., Finding]
    group: Group = "your own"
    about: str = ""
    differs: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters with their default values."""
        signature = inspect.signature(self.check)
        return {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
        }

    def with_parameters(self, changes: Mapping[str, object]) -> Rule:
        """The same rule with other parameter values.

        Raises:
            ConfigError: a parameter is unknown, or its value has the wrong type or is out of range.
        """
        for name in changes:
            if name not in self.parameters:
                raise ConfigError(f"rule {self.name} has no parameter {name!r}: {nearest(name, self.parameters)}")
        changes = {name: self._checked(name, value) for name, value in changes.items()}
        check = functools.wraps(self.check)(functools.partial(self.check, **changes))
        changed = inspect.signature(functools.partial(self.check, **changes))
        check.__signature__ = changed  # type: ignore[attr-defined]  # `parameters` reads the defaults from it
        return Rule(self.name, check, self.group, self.about, self.differs)

    def _checked(self, name: str, value: Any) -> Any:
        """Validate a value by the function's annotation; your own rules set their own ranges."""
        kind = get_type_hints(self.check, include_extras=True).get(name, Any)
        default = self.parameters[name]
        try:
            made = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"rule {self.name}, {name}={value!r}: {reason}; the default is {default}") from error
        if self.group == "your own" or isinstance(made, bool) or not isinstance(made, int | float):
            return made
        if not math.isfinite(made):
            raise ConfigError(f"rule {self.name}, {name}={value!r}: give a finite number; the default is {default}")
        if made < 0 and not (isinstance(default, int | float) and default < 0):
            raise ConfigError(f"rule {self.name}, {name}={value!r}: give 0 or more; the default is {default}")
        return made

    def __call__(self, profile: Profile) -> Finding:
        """Apply the rule to a profile.

        Raises:
            ConfigError: a parameter's value has the wrong type.
        """
        try:
            with np.errstate(invalid="ignore", over="ignore"):  # losses and statistics may be infinite
                found = self.check(profile)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise ConfigError(f"rule {self.name}, {place}={problem['input']!r}: {problem['msg']}") from error
        if not isinstance(found, Finding):
            raise ConfigError(f"rule {self.name} must return a Finding, not {type(found).__name__}")
        return found.model_copy(
            update={"rule": self.name, "parameters": {**_plain(self.parameters), **found.parameters}}
        )


def rule(name: str, *, group: Group, differs: str = "") -> Callable[[Callable[..., Finding]], Rule]:
    """Turn a function into a rule; the first line of its docstring describes what it detects."""

    def make(check: Callable[..., Finding]) -> Rule:
        about = (inspect.getdoc(check) or "").partition("\n")[0]
        return Rule(name, _typed(check), group, about, differs)

    return make


def as_rule(check: Rule | Callable[..., Finding]) -> Rule:
    """Turn a user's function into a rule of the same name."""
    if isinstance(check, Rule):
        return check
    name = getattr(check, "__name__", type(check).__name__)
    return Rule(name, check, "your own", (inspect.getdoc(check) or "").partition("\n")[0])


def _typed(check: Callable[..., Finding]) -> Callable[..., Finding]:
    return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(check)


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool | None | list | tuple) else str(value)
        for name, value in parameters.items()
    }
