"""Tags of all resources, and Search, which finds training jobs by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.protocol import ServiceError, not_emulated
from breedclf.backends.emulator.store import KINDS, TRAINING, Kind, Record, Store, page

MAX_TAGS = 50
# Fields of descriptions that Search doesn't return.
_NOT_SEARCHED = {"ProfilingStatus", "ProfilerRuleConfigurations", "ProfilerRuleEvaluationStatuses"}
_NOT_SEARCHED |= {"RemoteDebugConfig", "InfraCheckConfig"}


@dataclass(frozen=True)
class Tags:
    """AddTags, ListTags, DeleteTags, and Search for training jobs."""

    store: Store
    describe_training: Callable[[Mapping[str, Any], str], dict[str, Any]]
    lags: Callable[[], Lags] = Lags

    def add(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        kind, record = self._owner(request["ResourceArn"], region)
        tags = record["tags"] | {each["Key"]: each["Value"] for each in request["Tags"]}
        if len(tags) > MAX_TAGS:
            raise ServiceError("ResourceLimitExceeded", f"{len(tags)} tags are more than the {MAX_TAGS} of a resource.")
        self.store.change(kind, record["name"], tags=tags)
        return {"Tags": as_list(tags)}

    def list(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        return page(as_list(self._owner(request["ResourceArn"], region)[1]["tags"]), {"MaxResults": 50}, "Tags")

    def delete(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        kind, record = self._owner(request["ResourceArn"], region)
        tags = {key: value for key, value in record["tags"].items() if key not in request["TagKeys"]}
        self.store.change(kind, record["name"], tags=tags)
        return {}

    def search(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Training jobs by name, status or tag.

        Raises:
            ServiceError: another resource is searched for, or the expression isn't emulated.
        """
        if request["Resource"] != "TrainingJob":
            raise not_emulated("sagemaker", f"Search of {request['Resource']}")
        expression = request.get("SearchExpression", {})
        if expression.get("NestedFilters") or expression.get("SubExpressions"):
            raise not_emulated("sagemaker", "Search with NestedFilters or SubExpressions")
        filters = expression.get("Filters", [])
        every = all if expression.get("Operator", "And") == "And" else any
        found = []
        for record in self.store.all(TRAINING, region):
            current = self.describe_training({"TrainingJobName": record["name"]}, region)
            described = self.lags().found(current, now=self.store.clock())
            if described is None:
                continue
            if not filters or every(_passes(each, described, record["tags"]) for each in filters):
                shown = {name: value for name, value in described.items() if name not in _NOT_SEARCHED}
                found.append({"TrainingJob": {**shown, "Tags": as_list(record["tags"])}})
        if request.get("SortOrder", "Descending") == "Descending":
            found.reverse()
        return page(found, request, "Results")

    def _owner(self, arn: str, region: str) -> tuple[Kind, Record]:
        word, _, name = arn.rpartition(":")[2].partition("/")
        for kind in KINDS:
            record = self.store.find(kind, name) if kind.arn_word == word else None
            if record is not None and record["region"] == region:
                return kind, record
        raise ServiceError("ValidationException", f"Could not find the resource {arn}.")


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the service returns them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _passes(each: Mapping[str, str], described: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    name, operator, wanted = each["Name"], each.get("Operator", "Equals"), each.get("Value")
    value = tags.get(name.removeprefix("Tags.")) if name.startswith("Tags.") else described.get(name)
    if operator in ("Exists", "NotExists"):
        return (value is not None) is (operator == "Exists")
    text = None if value is None else str(value)
    tests = {
        "Equals": text == wanted,
        "NotEquals": text != wanted,
        "Contains": text is not None and (wanted or "") in text,
        "In": text is not None and text in (wanted or "").split(","),
    }
    if operator not in tests:
        raise not_emulated("sagemaker", f"Search with {operator}")
    return tests[operator]
