"""EventBridge Scheduler for one purpose: one-time schedules that delete an endpoint."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from breedclf.backends.aws_requests.model import WrongTypeError, model_faults
from breedclf.backends.emulator.protocol import ServiceError, not_emulated
from breedclf.backends.emulator.serving.endpoints import Endpoints
from breedclf.backends.emulator.store import ENDPOINT, SCHEDULE, Record, Store

_POLL_SECONDS = 0.2
_TARGET = ":scheduler:::aws-sdk:sagemaker:deleteEndpoint"
_EXPRESSION = "at(%Y-%m-%dT%H:%M:%S)"

_DEFAULTS = {
    "GroupName": "default",
    "State": "ENABLED",
    "ScheduleExpressionTimezone": "UTC",
    "ActionAfterCompletion": "NONE",
}

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class Schedules:
    """Create, get and delete schedules; a thread executes those that are due."""

    store: Store
    endpoints: Endpoints
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def answer(self, method: str, path: str, document: Mapping[str, Any], region: str) -> dict[str, Any]:
        """The answer to a request; method and path identify the operation.

        Raises:
            ServiceError: the request is refused.
        """
        name = path.removeprefix("/schedules/")
        if not path.startswith("/schedules/") or "/" in name or method not in ("POST", "GET", "DELETE"):
            raise not_emulated("scheduler", f"{method} {path}")
        try:
            if method == "POST":
                return self._create({"Name": name, **document}, region)
            record = self.store.get(SCHEDULE, name, region)
        except ServiceError as error:
            error.status = {"ResourceNotFoundException": 404, "ConflictException": 409}.get(error.code, error.status)
            raise
        if method == "DELETE":
            self.store.delete(SCHEDULE, name)
            return {}
        times = {"CreationDate": record["created"], "LastModificationDate": record["modified"]}
        return {"Arn": record["arn"], **times, **_DEFAULTS, **_without_token(record["request"])}

    def resume(self) -> None:
        """Execute due schedules, including those that became due while no emulator ran."""
        self._thread = threading.Thread(target=self._watch, name="schedules", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop executing schedules; the next emulator resumes them."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        try:
            faults = model_faults("scheduler", "CreateSchedule", request)
        except WrongTypeError as error:
            raise ServiceError("ValidationException", str(error)) from error
        if faults:
            raise ServiceError("ValidationException", "; ".join(faults))
        if not request["Target"]["Arn"].endswith(_TARGET):
            raise not_emulated("scheduler", f"a target such as {request['Target']['Arn']}")
        fields = {"due": _due(request), "endpoint": _endpoint(request)}
        record = self.store.create(SCHEDULE, request["Name"], region, request, **fields)
        return {"ScheduleArn": record["arn"]}

    def _watch(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            for record in self.store.all(SCHEDULE):
                if record["due"] <= self.store.clock():
                    self._execute(record)

    def _execute(self, record: Record) -> None:
        """Delete the endpoint; try again later if it is being changed."""
        try:
            self.endpoints.delete({"EndpointName": record["endpoint"]}, record["region"])
        except ServiceError as error:
            if self.store.find(ENDPOINT, record["endpoint"]) is not None:
                log.info("endpoint %s can't be deleted yet: %s", record["endpoint"], error)
                return
        self.store.delete(SCHEDULE, record["name"])


def _without_token(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != "ClientToken"}


def _due(request: Mapping[str, Any]) -> float:
    if request.get("ScheduleExpressionTimezone", "UTC") != "UTC":
        raise not_emulated("scheduler", "a time zone other than UTC")
    try:
        moment = datetime.strptime(request["ScheduleExpression"], _EXPRESSION)
    except ValueError as error:
        message = f"Invalid Schedule Expression {request['ScheduleExpression']}; the emulator accepts only at(...)."
        raise ServiceError("ValidationException", message) from error
    return moment.replace(tzinfo=UTC).timestamp()


def _endpoint(request: Mapping[str, Any]) -> str:
    try:
        return str(json.loads(request["Target"].get("Input", ""))["EndpointName"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError("ValidationException", "Target.Input must be a JSON object with an EndpointName.") from error
