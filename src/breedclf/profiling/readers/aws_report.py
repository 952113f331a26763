"""SageMaker's ProfilerReport files, `<Rule>.json`: read into findings, and written in their shape."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from breedclf.errors import ProfileError
from breedclf.profiling.rules import Finding

FOLDER = "profiler-reports"


def read_rule_reports(folder: str | Path) -> list[Finding]:
    """Findings from every `<Rule>.json` below a `rule-output` or `profiler-reports` folder.

    Raises:
        ProfileError: there is none, or one can't be read.
    """
    paths = sorted(path for path in Path(folder).rglob("*.json") if path.parent.name == FOLDER)
    if not paths:
        raise ProfileError(f"{folder} holds no {FOLDER}/<Rule>.json")
    return [_finding(path) for path in paths]


def write_rule_reports(findings: Iterable[Finding], folder: str | Path) -> None:
    """Write `profiler-reports/<Rule>.json`, in the shape that tools for SageMaker's report read."""
    target = Path(folder) / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for finding in findings:
        text = json.dumps(to_aws(finding), indent=1, allow_nan=False, default=str)
        (target / f"{finding.rule}.json").write_text(text + "\n", encoding="utf-8")


def to_aws(finding: Finding) -> dict[str, Any]:
    """The five fields of AWS's file; what is ours besides stands under `Details`."""
    return {
        "RuleTriggered": 1 if finding.status == "issue" else 0,
        "Violations": finding.triggers,
        "Datapoints": finding.datapoints,
        "RuleParameters": "\n".join(f"{name}:{value}" for name, value in finding.parameters.items()),
        "Details": {
            **finding.details,
            "status": finding.status,
            "evidence": finding.evidence,
            "advice": finding.advice,
        },
    }


def _finding(path: Path) -> Finding:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        triggered, violations = int(report["RuleTriggered"]), int(report.get("Violations") or 0)
        datapoints = int(report.get("Datapoints") or 0)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ProfileError(f"{path} is no rule report of SageMaker: {error!r}") from error
    details = report.get("Details")
    details = details if isinstance(details, dict) else {}
    status = "issue" if triggered else "ok" if datapoints else "no_data"
    return Finding(
        rule=path.stem,
        status=details.get("status", status),
        evidence=str(
            details.get("evidence")
            or (f"{violations} violations in {datapoints} datapoints, as SageMaker's rule counted")
        ),
        advice=str(details.get("advice", "")),
        datapoints=datapoints,
        triggers=violations,
        parameters=_parameters(report.get("RuleParameters")),
        details=details,
    )


def _parameters(text: Any) -> dict[str, Any]:
    if isinstance(text, dict):
        return text
    pairs = (line.partition(":") for line in str(text or "").splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
