"""Compares every answer of an emulator with botocore's model."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from breedclf.backends.aws_requests.model import WrongTypeError, service_model, shape_faults
from breedclf.backends.emulator.control_plane import Operation
from breedclf.backends.emulator.server import Emulator


@dataclass
class Checks:
    """Faults in answers, and the operations that were called."""

    faults: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    def taken(self) -> list[str]:
        """The faults since the last call."""
        found, self.faults = self.faults, []
        return found


_CHECKS: dict[int, Checks] = {}


@contextlib.contextmanager
def checked_answers(running: Emulator) -> Iterator[Checks]:
    """Compare every answer of SageMaker and its logs during the block; fail at its end if there were faults."""
    checks = _CHECKS[id(running)] = Checks()
    for service, operations in running.plane.operations.items():
        for name, operation in operations.items():
            operations[name] = functools.partial(_checked, operation, service, name, checks)
    yield checks
    del _CHECKS[id(running)]
    assert checks.faults == []


def checks_of(running: Emulator) -> Checks:
    """The checks of a running emulator."""
    return _CHECKS[id(running)]


def answer_faults(service: str, operation: str, answer: Mapping[str, Any]) -> list[str]:
    """What is wrong with an answer: missing, unknown and misshapen members."""
    shape = service_model(service).operation_model(operation).output_shape
    if shape is None:
        return [f"{operation} answers with {answer}"] if answer else []
    try:
        return [f"{operation}: {fault}" for fault in shape_faults(shape, answer)]
    except WrongTypeError as error:
        return [f"{operation}: {error}"]


def _checked(
    operation: Operation, service: str, name: str, checks: Checks, request: Mapping[str, Any], region: str
) -> dict[str, Any]:
    answer = operation(request, region)
    checks.answered.add(name)
    checks.faults += answer_faults(service, name, json.loads(json.dumps(answer)))
    return answer
