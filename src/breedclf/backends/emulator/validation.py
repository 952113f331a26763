"""Validates requests before they are executed, with the service's error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.backends.aws_requests.model import WrongTypeError, model_faults
from breedclf.backends.aws_requests.rules import rule_faults
from breedclf.backends.emulator.protocol import ServiceError


def check_request(service: str, operation: str, parameters: Mapping[str, Any], region: str) -> None:
    """Check a request against the service's model and its documented rules.

    Raises:
        ServiceError: SerializationException for a wrong type, ValidationException for the rest, naming all faults.
    """
    try:
        faults = model_faults(service, operation, parameters)
    except WrongTypeError as error:
        raise ServiceError("SerializationException", str(error)) from error
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
        raise ServiceError("ValidationException", count + "; ".join(faults))
    if broken := rule_faults(service, operation, parameters, region):
        raise ServiceError("ValidationException", " ".join(broken))
