"""A call to AWS before it is made: what it is and what it carries, checked against the service's own model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from breedclf.backends.aws_requests.model import WrongTypeError, model_faults
from breedclf.backends.aws_requests.rules import rule_faults
from breedclf.errors import ConfigError


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

    def checked(self, region: str = "") -> ApiCall:
        """The same call, once the service's own model and the documented rules find nothing wrong with it.

        Args:
            region: where it is to be sent; what depends on it isn't checked where that isn't known.

        Raises:
            ConfigError: a name is misspelt, missing, too long or of a wrong form, or a value isn't one that is allowed.
        """
        try:
            problems = model_faults(self.service, self.operation, self.parameters)
        except WrongTypeError as error:
            problems = [str(error)]
        problems = problems or rule_faults(self.service, self.operation, self.parameters, region)
        if problems:
            raise ConfigError(f"{self.operation}: the request breaks the service's own rules: {'; '.join(problems)}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"service": self.service, "operation": self.operation, "parameters": dict(self.parameters)}


def as_json(calls: Iterable[ApiCall]) -> str:
    """The calls as people read them."""
    return json.dumps([call.to_dict() for call in calls], indent=2, default=str)
