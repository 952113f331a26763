"""Interprets an endpoint's description and tags, and decides the next step; pure functions.

SageMaker reports InService once the container's server has started. Here an endpoint is in service once the answers of
its generation were checked, which is recorded in a tag for all processes. An update with wrong answers is rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from breedclf.backends.sagemaker.endpoints.request import generation_of
from breedclf.backends.sagemaker.tags import TAG
from breedclf.backends.sagemaker.timestamps import epoch_seconds
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus

EXPIRES_TAG = "breedclf-expires"
CHECKED_TAG = "breedclf-checked"
TRIED_TAG = "breedclf-tried"
REFUSED_TAG = "breedclf-refused"
REASON_TAG = "breedclf-reason"

_STATUS = {
    "Creating": EndpointStatus.CREATING,
    "InService": EndpointStatus.IN_SERVICE,
    "Updating": EndpointStatus.UPDATING,
    "SystemUpdating": EndpointStatus.UPDATING,
    "RollingBack": EndpointStatus.ROLLING_BACK,
    "Deleting": EndpointStatus.DELETING,
    "Failed": EndpointStatus.FAILED,
    "OutOfService": EndpointStatus.FAILED,
    "UpdateRollbackFailed": EndpointStatus.FAILED,
}


CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


class Step(Enum):
    """What breedclf must do next with an endpoint."""

    NOTHING = "nothing"
    CHECK = "compare its answers with the classifier's"
    ROLL_BACK = "roll it back to the previous generation"


@dataclass(frozen=True)
class EndpointView:
    """An endpoint's description for users, and the next step.

    `config` is the configuration in effect, `checked` the last one whose answers were correct; `modified` identifies
    the state that SageMaker described, which may be outdated.
    """

    description: EndpointDescription
    step: Step
    config: str
    checked: str | None
    modified: str
    newest: int
    is_ours: bool
    is_serverless: bool


def view_of(described: Mapping[str, Any], tags: Mapping[str, str]) -> EndpointView:
    """The view of an endpoint from the response of DescribeEndpoint and its tags."""
    name, config = str(described["EndpointName"]), str(described.get("EndpointConfigName", ""))
    modified = f"{epoch_seconds(described['LastModifiedTime']):.3f}"
    checked = tags.get(CHECKED_TAG)
    generation = generation_of(name, config) or 0
    tried, tried_at = _tried(tags)
    newest = max(generation, tried, generation_of(name, checked or "") or 0)
    status = _STATUS[described["EndpointStatus"]]
    step, served, reason, rolled_back = Step.NOTHING, generation_of(name, checked or "") or 0, None, False
    if TAG not in tags:
        served, reason = generation, described.get("FailureReason")
    elif status is EndpointStatus.FAILED:
        reason = f"{_reason(described)}; its log is in CloudWatch, /aws/sagemaker/Endpoints/{name}"
    elif status in (EndpointStatus.UPDATING, EndpointStatus.ROLLING_BACK):
        status = EndpointStatus.ROLLING_BACK if _is_refused(tags, name, tried) else status
    elif status is EndpointStatus.IN_SERVICE:
        if tried > generation and tried_at == modified:
            status = EndpointStatus.UPDATING  # described before the update started
        elif config == _refused(tags)[0]:
            status, step, reason = _of_refused(described, tags, modified)
        elif config != checked:
            status, step = (EndpointStatus.UPDATING if checked else EndpointStatus.CREATING), Step.CHECK
        else:
            served = generation
            rolled_back = tried > generation
            if rolled_back:
                cause = tags.get(REASON_TAG, "") if _is_refused(tags, name, tried) else _reason(described)
                reason = f"update {tried} was rolled back: {cause}"
    description = EndpointDescription(
        name=name,
        status=status,
        created=epoch_seconds(described["CreationTime"]),
        generation=served,
        expires=_expires(tags),
        failure_reason=reason,
        rolled_back=rolled_back,
        details={"arn": described.get("EndpointArn"), "endpoint_config": config, "status": described["EndpointStatus"]},
    )
    return EndpointView(
        description,
        step,
        config=config,
        checked=checked,
        modified=modified,
        newest=newest,
        is_ours=TAG in tags,
        is_serverless=any("CurrentServerlessConfig" in each for each in described.get("ProductionVariants", ())),
    )


def expires_tag(expires: float) -> dict[str, str]:
    """The tag for the time at which an endpoint expires, in seconds since 1970."""
    return {EXPIRES_TAG: f"{expires:.0f}"}


def tried_tag(number: int, modified: str) -> dict[str, str]:
    """The tag that records an update, and the state on which it was based."""
    return {TRIED_TAG: f"{number} {modified}"}


def refused_tags(config: str, modified: str, reason: str) -> dict[str, str]:
    """The tags that record a generation with wrong answers."""
    return {REFUSED_TAG: f"{config} {modified}", REASON_TAG: reason}


def _of_refused(
    described: Mapping[str, Any], tags: Mapping[str, str], modified: str
) -> tuple[EndpointStatus, Step, str | None]:
    """An endpoint with wrong answers: a first model has failed, an update is rolled back."""
    reason = tags.get(REASON_TAG, "its predictions are wrong")
    if CHECKED_TAG not in tags:
        return EndpointStatus.FAILED, Step.NOTHING, reason
    if _refused(tags)[1] == modified:
        return EndpointStatus.ROLLING_BACK, Step.ROLL_BACK, None
    return EndpointStatus.FAILED, Step.NOTHING, f"{reason}; the rollback failed: {_reason(described)}"


def _reason(described: Mapping[str, Any]) -> str:
    return str(described.get("FailureReason") or "SageMaker gives no reason")


def _tried(tags: Mapping[str, str]) -> tuple[int, str]:
    found = re.fullmatch(r"(\d+) (\S+)", tags.get(TRIED_TAG, ""))
    return (int(found[1]), found[2]) if found else (0, "")


def _refused(tags: Mapping[str, str]) -> tuple[str, str]:
    config, _, modified = tags.get(REFUSED_TAG, "").partition(" ")
    return config, modified


def _is_refused(tags: Mapping[str, str], name: str, number: int) -> bool:
    return number > 0 and generation_of(name, _refused(tags)[0]) == number


def _expires(tags: Mapping[str, str]) -> float | None:
    try:
        return float(tags[EXPIRES_TAG])
    except (KeyError, ValueError):
        return None
