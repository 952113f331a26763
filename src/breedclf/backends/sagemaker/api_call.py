"""A call to AWS before it is made: what it is and what it carries, checked against the service's own model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from breedclf.errors import ConfigError

_ALLOWED_VALUES = "enum"


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

    def checked(self) -> ApiCall:
        """The same call, once botocore's model of the service finds nothing wrong with it.

        Raises:
            ConfigError: a name is misspelt, missing or too long, or a value isn't one that the service knows.
        """
        shape = _model(self.service).operation_model(self.operation).input_shape
        report = ParamValidator().validate(dict(self.parameters), shape)
        problems = [report.generate_report()] if report.has_errors() else []
        problems += _foreign_values(self.parameters, shape, self.operation)
        if problems:
            raise ConfigError(f"{self.operation}: the request breaks the service's own rules: {'; '.join(problems)}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"service": self.service, "operation": self.operation, "parameters": dict(self.parameters)}


def as_json(calls: Iterable[ApiCall]) -> str:
    """The calls as people read them."""
    return json.dumps([call.to_dict() for call in calls], indent=2, default=str)


@cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def _foreign_values(value: Any, shape: Any, where: str) -> list[str]:
    """Texts outside of the service's list of values, which botocore itself lets pass."""
    if shape.type_name == "structure":
        members = shape.members
        found = ((each, members[name], f"{where}.{name}") for name, each in value.items() if name in members)
    elif shape.type_name == "list":
        found = ((each, shape.member, f"{where}[{number}]") for number, each in enumerate(value))
    elif shape.type_name == "map":
        found = ((each, shape.value, f"{where}.{name}") for name, each in value.items())
    else:
        allowed = shape.metadata.get(_ALLOWED_VALUES)
        return [f"{where}={value!r} is none of {', '.join(allowed)}"] if allowed and value not in allowed else []
    return [problem for each, inner, place in found for problem in _foreign_values(each, inner, place)]
