"""What an endpoint's description and tags on SageMaker mean, and what is to be done next; pure.

SageMaker says InService once the container's server is up. Here an endpoint is in service once a generation's answers
were found right, which a tag remembers for every process; one whose answers are wrong is led back to the one before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from breedclf.backends.sagemaker.context import TAG
from breedclf.backends.sagemaker.endpoints.request import generation_of
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
    """What an endpoint still needs from us."""

    NOTHING = "nothing"
    CHECK = "its answers are to be compared with the classifier's"
    ROLL_BACK = "it is to be led back to the generation before"


@dataclass(frozen=True)
class Seen:
    """An endpoint as it is described to users, and what it needs next.

    `config` is the configuration in effect, `checked` the last one whose answers were found right; `modified` stands
    for the moment of SageMaker's description, which may be one of the past.
    """

    description: EndpointDescription
    step: Step
    config: str
    checked: str | None
    modified: str
    newest: int
    is_ours: bool
    is_serverless: bool


def seen(described: Mapping[str, Any], tags: Mapping[str, str]) -> Seen:
    """Read a description of DescribeEndpoint beside the endpoint's tags."""
    name, config = str(described["EndpointName"]), str(described.get("EndpointConfigName", ""))
    modified = _stamp(described["LastModifiedTime"])
    checked = tags.get(CHECKED_TAG)
    generation = generation_of(name, config) or 0
    tried, tried_at = _tried(tags)
    newest = max(generation, tried, generation_of(name, checked or "") or 0)
    status = _STATUS[described["EndpointStatus"]]
    step, served, reason = Step.NOTHING, generation_of(name, checked or "") or 0, None
    if TAG not in tags:
        served, reason = generation, described.get("FailureReason")
    elif status is EndpointStatus.FAILED:
        reason = f"{_reason(described)}; its log is in CloudWatch, /aws/sagemaker/Endpoints/{name}"
    elif status in (EndpointStatus.UPDATING, EndpointStatus.ROLLING_BACK):
        status = EndpointStatus.ROLLING_BACK if _is_refused(tags, name, tried) else status
    elif status is EndpointStatus.IN_SERVICE:
        if tried > generation and tried_at == modified:
            status = EndpointStatus.UPDATING  # a description of before the update
        elif config == _refused(tags)[0]:
            status, step, reason = _of_refused(described, tags, modified)
        elif config != checked:
            status, step = (EndpointStatus.UPDATING if checked else EndpointStatus.CREATING), Step.CHECK
        else:
            served = generation
            if tried > generation:
                told = tags.get(REASON_TAG, "") if _is_refused(tags, name, tried) else _reason(described)
                reason = f"update {tried} was rolled back: {told}"
    description = EndpointDescription(
        name=name,
        status=status,
        created=described["CreationTime"].timestamp(),
        generation=served,
        expires=_expires(tags),
        failure_reason=reason,
        details={"arn": described.get("EndpointArn"), "endpoint_config": config, "status": described["EndpointStatus"]},
    )
    return Seen(
        description,
        step,
        config=config,
        checked=checked,
        modified=modified,
        newest=newest,
        is_ours=TAG in tags,
        is_serverless=any("CurrentServerlessConfig" in each for each in described.get("ProductionVariants", ())),
    )


def tried_tag(number: int, modified: str) -> dict[str, str]:
    """The tag that remembers an update and the moment of the description it was based on."""
    return {TRIED_TAG: f"{number} {modified}"}


def refused_tags(config: str, modified: str, reason: str) -> dict[str, str]:
    """The tags that remember that a generation answers wrongly."""
    return {REFUSED_TAG: f"{config} {modified}", REASON_TAG: reason}


def _of_refused(
    described: Mapping[str, Any], tags: Mapping[str, str], modified: str
) -> tuple[EndpointStatus, Step, str | None]:
    """An endpoint that is up and answers wrongly: the first model has failed, another gives way to the one before."""
    reason = tags.get(REASON_TAG, "its answers are wrong")
    if CHECKED_TAG not in tags:
        return EndpointStatus.FAILED, Step.NOTHING, reason
    if _refused(tags)[1] == modified:
        return EndpointStatus.ROLLING_BACK, Step.ROLL_BACK, None
    return EndpointStatus.FAILED, Step.NOTHING, f"{reason}; and the way back failed: {_reason(described)}"


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


def _stamp(moment: datetime) -> str:
    return f"{moment.timestamp():.3f}"
