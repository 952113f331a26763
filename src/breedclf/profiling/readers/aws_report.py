"""SageMaker's ProfilerReport files, `<Rule>.json`: reads them as a profile or findings, and writes the same format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from breedclf.errors import ProfileError
from breedclf.files.paths import StrPath
from breedclf.profiling.columns import MOST_SECONDS, plain_json
from breedclf.profiling.profile import JobInfo, Loader, Profile, Provenance
from breedclf.profiling.readers.sagemaker import as_seconds
from breedclf.profiling.reported import RuleReport, is_number, numbers, section, usage_rows
from breedclf.profiling.rules import ALL_RULES, Finding
from breedclf.profiling.rules.reported import reported_finding

FOLDER = "profiler-reports"
OUTPUT = "profiler-output"
RULE_OUTPUT = "rule-output"
SUMMARY = "ProfilerReport"  # the summary of all rules, which only breedclf writes and always recomputes
MOST_BYTES = 500_000_000
MOST_COUNTED = 1e15
_LOCATIONS = (  # below the given folder; the first one with reports is used
    FOLDER,
    f"{OUTPUT}/{FOLDER}",
    f"*/{OUTPUT}/{FOLDER}",
    f"{RULE_OUTPUT}/*/{OUTPUT}/{FOLDER}",
    f"{RULE_OUTPUT}/{FOLDER}",
)


def holds_rule_reports(folder: Path) -> bool:
    """Whether this folder or a subfolder has rule reports, or is named like a folder of reports."""
    return bool(_folders(folder)) or is_named_as_report(folder)


def is_named_as_report(folder: Path) -> bool:
    """Whether the folder has one of SageMaker's names for folders of rule reports."""
    return folder.name in (FOLDER, OUTPUT, RULE_OUTPUT) or folder.name.startswith(SUMMARY)


def read_report_folder(folder: StrPath) -> Profile:
    """Read the profile of a run from SageMaker's rule reports alone, given at any level of their folders.

    Unreadable reports are skipped and listed in `provenance.notes`.

    Raises:
        ProfileError: there are no reports, none can be read, or there are reports of several runs.
    """
    reports, notes = rule_reports(Path(folder))
    by_rule = {report.rule: report for report in reports}
    start, end, first, last, more = _times(by_rule)
    loader = _details(by_rule, "Dataloader")
    nodes = list(dict.fromkeys(row["node"] for row in usage_rows(_details(by_rule, "OverallSystemUsage"))))
    gpus = _gpus(by_rule)
    workers, pinned, cores = loader.get("num_workers"), loader.get("pin_memory"), loader.get("cores")
    return Profile(
        job=JobInfo(
            name=_job_name(Path(folder).absolute()),
            source="sagemaker report",
            status="Unknown",
            start=start,
            end=end,
            initialization_seconds=None if first is None else max(0.0, first - start),
            finalization_seconds=None if last is None else max(0.0, end - last),
            device="cuda" if gpus else "cpu",
            cores={nodes[0] if nodes else "algo-1": int(float(str(cores)))} if _is_count(cores) else {},
            gpus=gpus,
        ),
        loader=Loader(
            workers=int(float(str(workers))) if _is_count(workers) else None,
            pin_memory=pinned if isinstance(pinned, bool) else None,
        ),
        reported=tuple(reports),
        provenance=Provenance(notes=tuple(notes + more)),
    )


def rule_reports(folder: Path) -> tuple[list[RuleReport], list[str]]:
    """The rule reports in or below a folder, and notes about unreadable ones.

    Raises:
        ProfileError: there are no reports, none can be read, or there are reports of several runs.
    """
    locations = _folders(folder)
    if not locations:
        raise ProfileError(
            f"{folder} has no {FOLDER}/<Rule>.json: give the folder {SUMMARY}-..., {OUTPUT} or {FOLDER} of a "
            "SageMaker job's rule-output"
        )
    if len(locations) > 1:
        shown = ", ".join(str(location) for location in locations[:5])
        raise ProfileError(f"{folder} has reports of {len(locations)} runs: give one of {shown}")
    reports, notes = [], []
    for path in _files(locations[0]):
        try:
            reports.append(_report(path))
        except ProfileError as error:
            notes.append(str(error).replace(str(path), path.name))
    if not reports:
        raise ProfileError(f"no rule report in {locations[0]} can be read: {'; '.join(notes[:5])}")
    return [report for report in reports if report.rule != SUMMARY], notes


def read_rule_reports(folder: StrPath) -> list[Finding]:
    """Read findings from every `<Rule>.json` below a `rule-output` or `profiler-reports` folder.

    Raises:
        ProfileError: there are no reports, or one can't be read.
    """
    paths = sorted(path for path in Path(folder).rglob("*.json") if path.parent.name == FOLDER)
    if not paths:
        raise ProfileError(f"{folder} has no {FOLDER}/<Rule>.json")
    return [reported_finding(_report(path)) for path in paths]


def write_rule_reports(findings: Iterable[Finding], folder: StrPath) -> None:
    """Write `profiler-reports/<Rule>.json`, in the format of SageMaker's reports."""
    target = Path(folder) / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for finding in findings:
        text = json.dumps(plain_json(to_aws(finding)), indent=1, allow_nan=False)
        (target / f"{finding.rule}.json").write_text(text + "\n", encoding="utf-8")


def to_aws(finding: Finding) -> dict[str, Any]:
    """The five fields of AWS's format; breedclf's own fields are in `Details`."""
    return {
        "RuleTriggered": finding.times_triggered,
        "Violations": finding.violations,
        "Datapoints": finding.datapoints,
        "RuleParameters": "\n".join(f"{name}:{value}" for name, value in finding.parameters.items()),
        "Details": {
            **finding.details,
            "status": finding.status,
            "evidence": finding.evidence,
            "advice": finding.advice,
        },
    }


def _folders(folder: Path) -> list[Path]:
    """The folders with rule reports: this one, or those at the first location below it that has any."""
    if folder.name == FOLDER or any((folder / f"{rule}.json").is_file() for rule in ALL_RULES):
        return [folder] if _files(folder) else []
    for pattern in _LOCATIONS:
        if found := sorted(path for path in folder.glob(pattern) if path.is_dir() and _files(path)):
            return found
    return []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.is_file() and not path.name.startswith("."))


def _job_name(path: Path) -> str:
    """The name of the first parent folder of the reports that isn't one of SageMaker's own."""
    while is_named_as_report(path) and path.parent != path:
        path = path.parent
    return path.name or "run"


def _report(path: Path) -> RuleReport:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES / 1e6:.0f} MB")
        text = path.read_bytes().decode("utf-8-sig")
        values = json.loads(text)
        if not isinstance(values, dict) or "RuleTriggered" not in values:
            raise ValueError("no object with RuleTriggered")
        details = values.get("Details")
        return RuleReport(
            rule=path.stem,
            times_triggered=_count(values, "RuleTriggered"),
            violations=_count(values, "Violations"),
            datapoints=_count(values, "Datapoints"),
            parameters=_parameters(values.get("RuleParameters")),
            details=plain_json(details) if isinstance(details, dict) else {},
        )
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise ProfileError(f"{path} is not a SageMaker rule report: {error}") from error


def _count(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    if value is None and name != "RuleTriggered":
        return 0
    if not isinstance(value, int | float) or not 0 <= value <= MOST_COUNTED or value != int(value):
        raise ValueError(f"{name} is {value!r}, not a count")
    return int(value)


def _parameters(text: Any) -> dict[str, Any]:
    if isinstance(text, dict):
        return {str(name): plain_json(value) for name, value in text.items()}
    pairs = (line.partition(":") for line in str(text or "").splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _details(by_rule: dict[str, RuleReport], rule: str) -> dict[str, Any]:
    return by_rule[rule].details if rule in by_rule else {}


def _is_count(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1e6


def _times(by_rule: dict[str, RuleReport]) -> tuple[float, float, float | None, float | None, list[str]]:
    """Start and end of the job, times of its first and last step (0 or None if unknown), and notes."""
    known = _details(by_rule, "MaxInitializationTime")
    steps = {name: as_seconds(value) for name, value in numbers(known, "step_num").items()}
    start, end = _moment(known.get("job_start")), _moment(known.get("job_end"))
    first, last = _moment(steps.get("first")), _moment(steps.get("last"))
    if start is not None and end is not None and start <= end:
        inside = first is not None and last is not None and start <= first <= last <= end
        return start, end, first if inside else None, last if inside else None, []
    keys = chain.from_iterable(section(report.details, "bottlenecks") for report in by_rule.values())
    moments = [moment for key in keys if (moment := _moment(key)) is not None]
    if not moments:
        return 0.0, 0.0, None, None, ["none of the reports has the start and end of the job"]
    note = "start and end are those of the first and last bottleneck: no report has the job's own"
    return min(moments), max(moments), None, None, [note]


def _moment(value: Any) -> float | None:
    try:
        time = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return time if 0 < time < MOST_SECONDS else None


def _gpus(by_rule: dict[str, RuleReport]) -> int:
    """The number of GPUs that the reports mention."""
    gpus = {
        (node, part)
        for rule in ("LowGPUUtilization", "BatchSize", "GPUMemoryIncrease")
        for node, parts in _details(by_rule, rule).items()
        if isinstance(parts, dict)
        for part in parts
        if part.startswith("gpu") and not part.endswith("memory")
    }
    usage = {row["node"] for row in usage_rows(_details(by_rule, "OverallSystemUsage")) if row["kind"] == "gpu"}
    return len(gpus) or len(usage)
