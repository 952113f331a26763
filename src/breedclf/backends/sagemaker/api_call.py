"""Validation of a request before it is sent, against the service's own model and the documented rules."""

from __future__ import annotations

from breedclf.backends.aws_requests.model import WrongTypeError, model_faults
from breedclf.backends.aws_requests.rules import rule_faults
from breedclf.errors import ConfigError
from breedclf.jobs.plan import ApiCall


def validate_call(call: ApiCall, region: str = "") -> ApiCall:
    """Return the call if it is valid.

    Args:
        call: the operation and its parameters.
        region: the target region; if empty, rules that depend on it are skipped.

    Raises:
        ConfigError: a parameter is unknown, missing, too long or malformed, or has a value that isn't allowed.
    """
    try:
        problems = model_faults(call.service, call.operation, call.parameters)
    except WrongTypeError as error:
        problems = [str(error)]
    problems = problems or rule_faults(call.service, call.operation, call.parameters, region)
    if problems:
        raise ConfigError(f"{call.operation}: invalid request: {'; '.join(problems)}")
    return call
