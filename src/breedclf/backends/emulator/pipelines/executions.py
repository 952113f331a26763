"""Executes pipelines, one step after the other; each step calls the operation of the same name."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from breedclf.backends.emulator.pipelines.definition import OPERATIONS, Step, holds, resolved, steps_of
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.store import EXECUTION, Record, Store
from breedclf.backends.emulator.watching import Watching

_MAX_JOB_NAME = 32
_BEST_JOBS = 100

CallOperation = Callable[[str, Mapping[str, Any], str], dict[str, Any]]
"""Calls an operation of SageMaker with parameters in a region, as a client would."""


@dataclass
class Executions(Watching):
    """Runs each execution in a thread; its state is in the store, so that another emulator can resume it.

    `steps` of a record are those that have started, by name: `type`, `status`, `started`, `ended`, `reason`, `job`, and
    `metadata` as ListPipelineExecutionSteps returns it.
    """

    store: Store
    call: CallOperation
    what = "pipeline execution"

    def resume(self) -> None:
        """Resume the executions of an earlier emulator."""
        for record in self.store.all(EXECUTION):
            if not record.get("ended"):
                self.start(record["name"])

    def _advance(self, name: str) -> bool:
        """Start, update or finish the current step; False once the execution has ended."""
        record = self.store.find(EXECUTION, name)
        if record is None or record.get("ended"):
            return False
        step = self._current(record)
        if record.get("stop") and (step is None or step["Name"] not in record["steps"]):
            return self._end(name, "Stopped")
        if step is None:
            return self._end(name, "Succeeded")
        try:
            return self._take(record, step)
        except ServiceError as error:
            reason = f"ClientError: {error}"
            self._write(record, step, status="Failed", reason=reason, ended=self.store.clock())
            return self._end(name, "Failed", f"Step failure: {step['Name']}: {reason}")

    def _current(self, record: Record) -> Step | None:
        """The first step that hasn't succeeded; None at the end."""
        waiting = list(steps_of(record["definition"]))
        while waiting:
            step = waiting.pop(0)
            state = record["steps"].get(step["Name"])
            if state is None or state["status"] != "Succeeded":
                return step
            if step["Type"] == "Condition":
                outcome = state["metadata"]["Condition"]["Outcome"]
                waiting = [*(step["Arguments"].get("IfSteps" if outcome == "True" else "ElseSteps") or ()), *waiting]
        return None

    def _take(self, record: Record, step: Step) -> bool:
        arguments, now = step["Arguments"], self.store.clock()
        if step["Type"] == "Tuning":
            return self._tune(record, step)
        if step["Type"] == "Condition":
            outcome = all(holds(each, lambda name: self._properties(record, name)) for each in arguments["Conditions"])
            metadata: dict[str, Any] = {"Condition": {"Outcome": str(outcome)}}
            self._write(record, step, status="Succeeded", ended=now, metadata=metadata)
            return True
        if step["Type"] == "RegisterModel":
            metadata = {"RegisterModel": {"Arn": self._register(record, step)}}
            self._write(record, step, status="Succeeded", ended=now, metadata=metadata)
            return True
        message = str(resolved(arguments.get("ErrorMessage", ""), lambda name: self._properties(record, name)))
        self._write(record, step, status="Failed", ended=now, metadata={"Fail": {"ErrorMessage": message}})
        return self._end(record["name"], "Failed", f"Step failure: {step['Name']}: {message}")

    def _tune(self, record: Record, step: Step) -> bool:
        """Start the step's tuning job, once even if the emulator is killed in between, or look at it."""
        state, region = record["steps"].get(step["Name"]), record["region"]
        if state is None:
            name = f"{record['name']}-{step['Name'].replace('_', '-')[:8].strip('-')}-{secrets.token_hex(4)}"
            self._write(record, step, status="Executing", job=name[:_MAX_JOB_NAME])
            return True
        job = {"HyperParameterTuningJobName": state["job"]}
        if "metadata" not in state:
            request = {**resolved(step["Arguments"], lambda name: self._properties(record, name)), **job}
            try:
                arn = self.call(OPERATIONS["Tuning"], request, region)["HyperParameterTuningJobArn"]
            except ServiceError as error:
                if error.code != "ResourceInUse":
                    raise
                arn = self.call("DescribeHyperParameterTuningJob", job, region)["HyperParameterTuningJobArn"]
            self._write(record, step, metadata={"TuningJob": {"Arn": arn}})
            return True
        found = self.call("DescribeHyperParameterTuningJob", job, region)
        status, now = found["HyperParameterTuningJobStatus"], self.store.clock()
        if record.get("stop") and status == "InProgress":
            self.call("StopHyperParameterTuningJob", job, region)
        if status == "Completed":
            self._write(record, step, status="Succeeded", ended=now)
        elif status in ("Failed", "Stopped"):
            reason = found.get("FailureReason", f"the tuning job is {status}")
            self._write(record, step, status=status, ended=now, reason=reason)
            if record.get("stop"):
                return self._end(record["name"], "Stopped")
            return self._end(record["name"], "Failed", f"Step failure: {step['Name']}: {reason}")
        return True

    def _register(self, record: Record, step: Step) -> str:
        """Register the model package; the group is created if there is none."""
        request = resolved(step["Arguments"], lambda name: self._properties(record, name))
        token = hashlib.sha256(f"{record['arn']} {step['Name']}".encode()).hexdigest()[:36]
        group = {"ModelPackageGroupName": request.get("ModelPackageGroupName", "")}
        try:
            self.call("DescribeModelPackageGroup", group, record["region"])
        except ServiceError:
            self.call("CreateModelPackageGroup", group, record["region"])
        answer = self.call(OPERATIONS["RegisterModel"], {**request, "ClientToken": token}, record["region"])
        return str(answer["ModelPackageArn"])

    def _properties(self, record: Record, name: str) -> Mapping[str, Any]:
        """The properties of a step: the response of its Describe operation."""
        state = record["steps"].get(name)
        if state is None or state["status"] != "Succeeded":
            raise ServiceError("ValidationException", f"step {name} has not been executed")
        if state["type"] == "Tuning":
            job = {"HyperParameterTuningJobName": state["job"]}
            described = self.call("DescribeHyperParameterTuningJob", job, record["region"])
            listed = {**job, "MaxResults": _BEST_JOBS}
            children = self.call("ListTrainingJobsForHyperParameterTuningJob", listed, record["region"])
            config = described["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
            best_first = _best_first(children["TrainingJobSummaries"], maximize=config["Type"] == "Maximize")
            return {**described, "TrainingJobSummaries": best_first}
        if state["type"] == "RegisterModel":
            package = {"ModelPackageName": state["metadata"]["RegisterModel"]["Arn"]}
            return self.call("DescribeModelPackage", package, record["region"])
        return {"Outcome": state["metadata"].get("Condition", {}).get("Outcome", "")}

    def _write(self, record: Record, step: Step, **changes: Any) -> None:
        state = record["steps"].get(step["Name"]) or {"type": step["Type"], "started": self.store.clock()}
        steps = {**record["steps"], step["Name"]: {**state, **changes}}
        self.store.change(EXECUTION, record["name"], steps=steps)

    def _fail(self, name: str, reason: str) -> None:
        self._end(name, "Failed", reason)

    def _end(self, name: str, status: str, reason: str | None = None) -> bool:
        self.store.change(EXECUTION, name, status=status, ended=self.store.clock(), failure_reason=reason)
        return False


def _best_first(jobs: Sequence[Mapping[str, Any]], *, maximize: bool) -> list[Mapping[str, Any]]:
    """Training jobs by their objective; those without one are last."""
    metric = "FinalHyperParameterTuningJobObjectiveMetric"
    found = sorted((each for each in jobs if metric in each), key=lambda each: each[metric]["Value"], reverse=maximize)
    return [*found, *(each for each in jobs if metric not in each)]
