"""The operations on pipelines and their executions; `executions` runs them."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from breedclf.backends.emulator.pipelines.definition import refuse, steps_of
from breedclf.backends.emulator.pipelines.executions import Executions
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.store import EXECUTION, PIPELINE, Record, Store, page, selected

_LETTERS = string.ascii_lowercase + string.digits
_MAX_NAME_CHARS = 128
_NOT_EMULATED = ("PipelineDefinitionS3Location", "PipelineParameters", "SelectiveExecutionConfig", "PipelineVersionId")
_KEPT = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "PipelineDefinition", "ParallelismConfiguration")


@dataclass(frozen=True)
class Pipelines:
    """Create, describe, list, update, delete and start pipelines; describe, list and stop executions."""

    store: Store
    executions: Executions

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        name = request["PipelineName"]
        _check(request)
        if len(name) > _MAX_NAME_CHARS:
            refuse(f"Pipeline names over {_MAX_NAME_CHARS} characters aren't emulated by breedclf's emulator.")
        if "PipelineDefinition" not in request:
            refuse("PipelineDefinition must be given.")
        before = self.store.find(PIPELINE, name)
        if before is not None and before["request"]["ClientRequestToken"] == request["ClientRequestToken"]:
            return {"PipelineArn": before["arn"]}
        return {"PipelineArn": self.store.create(PIPELINE, name, region, request)["arn"]}

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._pipeline(request["PipelineName"], region)
        described = {name: record["request"][name] for name in _KEPT if name in record["request"]}
        answer = {**described, "PipelineName": record["name"], "PipelineArn": record["arn"], "PipelineStatus": "Active"}
        answer |= {"CreationTime": record["created"], "LastModifiedTime": record["modified"]}
        if runs := self._executions(record):
            answer["LastRunTime"] = runs[-1]["created"]
        return {"PipelineDisplayName": record["name"], **answer}

    def list_pipelines(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [
            {
                "PipelineArn": record["arn"],
                "PipelineName": record["name"],
                "PipelineDisplayName": record["request"].get("PipelineDisplayName", record["name"]),
                "RoleArn": record["request"]["RoleArn"],
                "CreationTime": record["created"],
                "LastModifiedTime": record["modified"],
            }
            for record in self.store.all(PIPELINE, region)
            if record["name"].startswith(request.get("PipelineNamePrefix", ""))
        ]
        return page(selected(summaries, request, name="PipelineName"), request, "PipelineSummaries")

    def update(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._pipeline(request["PipelineName"], region)
        _check(request)
        changes = {name: request[name] for name in _KEPT if name in request}
        self.store.change(PIPELINE, record["name"], request={**record["request"], **changes})
        return {"PipelineArn": record["arn"]}

    def delete(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._pipeline(request["PipelineName"], region)
        if any(not each.get("ended") for each in self._executions(record)):
            raise ServiceError("ConflictException", f"Pipeline {record['arn']} has executions that are in progress.")
        for each in self._executions(record):
            self.store.delete(EXECUTION, each["name"])
        self.store.delete(PIPELINE, record["name"])
        return {"PipelineArn": record["arn"]}

    def start(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        pipeline = self._pipeline(request["PipelineName"], region)
        _check(request)
        for each in self._executions(pipeline):
            if each["request"]["ClientRequestToken"] == request["ClientRequestToken"]:
                return {"PipelineExecutionArn": each["execution_arn"]}
        name = "".join(secrets.choice(_LETTERS) for _ in range(12))
        arn = f"{pipeline['arn']}/execution/{name}"
        definition = pipeline["request"]["PipelineDefinition"]
        self.store.create(
            EXECUTION,
            name,
            region,
            request,
            pipeline=pipeline["name"],
            pipeline_arn=pipeline["arn"],
            execution_arn=arn,
            definition=definition,
            status="Executing",
            steps={},
        )
        self.executions.start(name)
        return {"PipelineExecutionArn": arn}

    def describe_execution(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._execution(request["PipelineExecutionArn"], region)
        answer = {
            "PipelineArn": record["pipeline_arn"],
            "PipelineExecutionArn": record["execution_arn"],
            "PipelineExecutionDisplayName": _display_name(record),
            "PipelineExecutionStatus": _status(record),
            "CreationTime": record["created"],
            "LastModifiedTime": record["modified"],
        }
        if record.get("failure_reason"):
            answer["FailureReason"] = record["failure_reason"][:1300]
        return answer

    def list_executions(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [
            {
                "PipelineExecutionArn": record["execution_arn"],
                "PipelineExecutionDisplayName": _display_name(record),
                "PipelineExecutionStatus": _status(record),
                "StartTime": record["created"],
            }
            for record in self._executions(self._pipeline(request["PipelineName"], region))
        ]
        if request.get("SortOrder", "Descending") == "Descending":
            summaries.reverse()
        return page(summaries, request, "PipelineExecutionSummaries")

    def list_steps(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._execution(request.get("PipelineExecutionArn", ""), region)
        steps = [_shown_step(name, state) for name, state in record["steps"].items()]
        if request.get("SortOrder", "Descending") == "Descending":
            steps.reverse()
        return page(steps, request, "PipelineExecutionSteps")

    def stop(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self._execution(request["PipelineExecutionArn"], region)
        if not record.get("ended"):
            self.store.change(EXECUTION, record["name"], stop=True)
        return {"PipelineExecutionArn": record["execution_arn"]}

    def _pipeline(self, name_or_arn: str, region: str) -> Record:
        return self.store.get(PIPELINE, name_or_arn.rpartition("/")[2], region)

    def _executions(self, pipeline: Record) -> list[Record]:
        found = self.store.all(EXECUTION, pipeline["region"])
        return [record for record in found if record["pipeline_arn"] == pipeline["arn"]]

    def _execution(self, arn: str, region: str) -> Record:
        record = self.store.find(EXECUTION, arn.rpartition("/")[2])
        if record is None or record["execution_arn"] != arn or record["region"] != region:
            raise ServiceError("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")
        return record


def _check(request: Mapping[str, Any]) -> None:
    for name in _NOT_EMULATED:
        if name in request:
            refuse(f"{name} isn't emulated by breedclf's emulator.")
    if "PipelineDefinition" in request:
        steps_of(request["PipelineDefinition"])


def _status(record: Record) -> str:
    return "Stopping" if record.get("stop") and not record.get("ended") else str(record["status"])


def _display_name(record: Record) -> str:
    shown = record["request"].get("PipelineExecutionDisplayName")
    return str(shown or f"execution-{int(record['created'] * 1000)}")


def _shown_step(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"StepName": name, "StartTime": state["started"], "StepStatus": state["status"], "AttemptCount": 1}
    optional = {"EndTime": "ended", "FailureReason": "reason", "Metadata": "metadata"}
    return shown | {key: state[word] for key, word in optional.items() if state.get(word) is not None}
