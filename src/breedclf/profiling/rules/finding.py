"""What a rule answers, and how a rule is declared: a plain function of a profile and keyword parameters."""

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
    """A rule's answer about one run.

    `evidence` is a sentence with the numbers that decided; `advice` says what to change; `changes` are settings to try,
    which `verify()` measures; `times_triggered` counts the evaluations in which the rule fired (our rules look at the
    whole run once, SageMaker's again and again while it lasts); `violations` counts the datapoints that tripped it;
    `details` holds tables.
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


def ok(evidence: str, *, datapoints: int, **more: Any) -> Finding:
    """Looked, and nothing is wrong."""
    return Finding(status="ok", evidence=evidence, datapoints=datapoints, **more)


def issue(evidence: str, advice: str, *, datapoints: int, triggers: int = 1, **more: Any) -> Finding:
    """Something is wrong, and this is what to do; `triggers` datapoints show it."""
    counts = {"times_triggered": 1, "violations": triggers, "datapoints": datapoints}
    return Finding(status="issue", evidence=evidence, advice=advice, **{**counts, **more})


def no_data(evidence: str, *, datapoints: int = 0) -> Finding:
    """The profile doesn't hold, or not long enough, what the rule looks at. It is no pass."""
    return Finding(status="no_data", evidence=evidence, datapoints=datapoints)


def not_applicable(evidence: str) -> Finding:
    """The rule has nothing to say about such a run, for instance about a GPU that isn't there."""
    return Finding(status="not_applicable", evidence=evidence)


@dataclass(frozen=True)
class Rule:
    """A named check with its default parameters.

    Attributes:
        check: `check(profile, **parameters) -> Finding`; the defaults of its keywords are the rule's defaults.
        about: what it looks for, in a sentence.
        differs: where and why it differs from the rule of the same name in SageMaker Debugger.
    """

    name: str
    check: Callable[..., Finding]
    group: Group = "your own"
    about: str = ""
    differs: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters with their values when nothing else is asked for."""
        signature = inspect.signature(self.check)
        return {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
        }

    def with_parameters(self, changes: Mapping[str, Any]) -> Rule:
        """The same rule with other values.

        Raises:
            ConfigError: a parameter is unknown, or its value has the wrong type or lies outside its range.
        """
        for name in changes:
            if name not in self.parameters:
                raise ConfigError(f"rule {self.name} has no parameter {name!r}: {nearest(name, self.parameters)}")
        changes = {name: self._checked(name, value) for name, value in changes.items()}
        check = functools.wraps(self.check)(functools.partial(self.check, **changes))
        changed = inspect.signature(functools.partial(self.check, **changes))
        check.__signature__ = changed  # type: ignore[attr-defined]  # what `parameters` reads the defaults from
        return Rule(self.name, check, self.group, self.about, self.differs)

    def _checked(self, name: str, value: Any) -> Any:
        """The value as the rule's function declares it; rules of your own set their own ranges."""
        kind = get_type_hints(self.check, include_extras=True).get(name, Any)
        usual = self.parameters[name]
        try:
            made = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"rule {self.name}, {name}={value!r}: {reason}; the default is {usual}") from error
        if self.group == "your own" or isinstance(made, bool) or not isinstance(made, int | float):
            return made
        if not math.isfinite(made):
            raise ConfigError(f"rule {self.name}, {name}={value!r}: give a finite number; the default is {usual}")
        if made < 0 and not (isinstance(usual, int | float) and usual < 0):
            raise ConfigError(f"rule {self.name}, {name}={value!r}: give 0 or more; the default is {usual}")
        return made

    def __call__(self, profile: Profile) -> Finding:
        """Ask the rule about a run.

        Raises:
            ConfigError: a parameter's value has the wrong type.
        """
        try:
            with np.errstate(invalid="ignore", over="ignore"):  # losses and measures may be infinite
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
    """Make a rule of a function; its docstring's first line says what it looks for."""

    def make(check: Callable[..., Finding]) -> Rule:
        about = (inspect.getdoc(check) or "").partition("\n")[0]
        return Rule(name, _typed(check), group, about, differs)

    return make


def as_rule(check: Rule | Callable[..., Finding]) -> Rule:
    """A user's plain function as a rule, named after it."""
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
