"""Rule reports of SageMaker: found at every level of their folders, with AWS's counts, and a whole page from them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breedclf import ProfilingSession
from breedclf.cli import main
from breedclf.errors import ProfileError
from breedclf.profiling.profile import Profile
from breedclf.profiling.readers.aws_report import read_report_folder, read_rule_reports, to_aws, write_rule_reports
from breedclf.profiling.report import render_report
from breedclf.profiling.reported import RuleReport
from breedclf.profiling.rules import check, choose_rules
from breedclf.profiling.rules.reported import reported_finding
from breedclf.profiling.sources import open_profile
from tests.profiling import rule_reports, sagemaker_folder


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return rule_reports.write(tmp_path / "dogs-1")


def told(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["profile", str(place), "--json", "--output", str(tmp_path / "out")]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize("level", range(5))
def test_reports_are_read_at_every_level_with_awss_counts(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], level: int
) -> None:
    place = [reports, *reports.parents][level]
    document = told(place, tmp_path, capsys)
    found = {each["rule"]: each for each in document["findings"]}
    for rule, counts in rule_reports.COUNTS.items():
        each = found[rule]
        assert (each["times_triggered"], each["violations"], each["datapoints"]) == counts, rule
        assert each["status"] == ("issue" if counts[0] else "no_data" if rule == "LoadBalancing" else "ok"), rule
        assert bool(each["advice"]) == bool(counts[0]), rule
    assert found["StalledTraining"]["status"] == "no_data", "what the reports don't hold can't be judged"
    assert document["steps"] == [
        {
            "node": "algo-1-27",
            "phase": "train",
            "steps": 240,
            "mean_seconds": 2.5,
            "standard_deviation_seconds": 1.25,
            "outliers": 13,
        }
    ]
    profile = Profile.load(tmp_path / "out" / "profile.json")
    assert (profile.job.name, profile.job.source, profile.job.status) == ("dogs-1", "sagemaker report", "Unknown")
    assert (profile.job.seconds, profile.job.initialization_seconds) == (2000, 125)
    assert (profile.job.finalization_seconds, profile.job.device, profile.job.cores) == (30, "cuda", {"algo-1": 4})
    assert (profile.loader.workers, profile.loader.pin_memory) == (0, False)


def test_what_the_overall_rules_measured_comes_from_their_details(reports: Path) -> None:
    found = {each.rule: each.evidence for each in ProfilingSession.attach(reports).findings}
    assert found["OverallSystemUsage"].startswith("algo-1: CPU median 40%, p95 60%, CPU memory median 17%, p95 18%")
    assert found["OverallFrameworkMetrics"].startswith(
        "share of the job's time: train 92.5%, others -4.5%, valid 12.0%"
    )
    assert "mean 2.50 s, standard deviation 1.25 s, 13 outliers" in found["StepOutlier"]
    assert "0 workers (AWS counts 1) for 4 cores, pin_memory off, a batch took 750.0 ms" in found["Dataloader"]
    assert "125 s before the first step" in found["MaxInitializationTime"]


def test_the_page_has_every_section_and_says_what_the_files_lack(reports: Path, tmp_path: Path) -> None:
    page = ProfilingSession.attach(reports.parent).report(tmp_path / "report.html").read_text()
    for words in (
        "Profile of dogs-1",
        "from 11 SageMaker rule reports",
        "Counts of SageMaker&#39;s rules",
        "1,400",
        "Share of the job&#39;s time, by phase",
        "These shares don&#39;t add up",
        "aten::conv2d",
        "mostly idle: use a smaller machine",
        "Duration of train steps, algo-1-27",
        "Loading a batch",
        "Not in these files",
        "a report has statistics of steps, not the steps themselves",
        "between first and last step",
    ):
        assert words in page, words
    assert "No steps were timed" not in page


def test_a_report_without_times_or_details_still_makes_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "profiler-reports"
    folder.mkdir()
    (folder / "BatchSize.json").write_text('{"RuleTriggered": 3}')
    profile = open_profile(tmp_path)
    assert (profile.job.start, profile.job.end) == (0, 0)
    page = render_report(profile, check(profile))
    assert "unknown duration" in page
    assert "1970" not in page
    assert "<strong>StepOutlier</strong>: its file isn&#39;t among these reports." in page


def test_counts_survive_a_round_trip(reports: Path, tmp_path: Path) -> None:
    findings = ProfilingSession.attach(reports).findings
    write_rule_reports(findings, tmp_path / "again")
    for rule, (triggered, violations, datapoints) in rule_reports.COUNTS.items():
        written = json.loads((tmp_path / "again" / "profiler-reports" / f"{rule}.json").read_text())
        assert (written["RuleTriggered"], written["Violations"], written["Datapoints"]) == (
            triggered,
            violations,
            datapoints,
        )
    again = {found.rule: found for found in ProfilingSession.attach(tmp_path / "again").findings}
    for found in findings:
        other = again[found.rule]
        assert (other.status, other.times_triggered, other.violations) == (
            found.status,
            found.times_triggered,
            found.violations,
        )
        assert other.evidence == found.evidence


def test_a_rule_of_ours_fires_once_and_counts_its_violations(tmp_path: Path) -> None:
    golden = {each.rule: each for each in check(open_profile(sagemaker_folder.write(tmp_path)))}
    assert golden["StepOutlier"].status == "issue"
    assert {name: to_aws(golden["StepOutlier"])[name] for name in ("RuleTriggered", "Violations", "Datapoints")} == {
        "RuleTriggered": 1,
        "Violations": 12,
        "Datapoints": golden["StepOutlier"].datapoints,
    }
    assert to_aws(golden["MaxInitializationTime"])["RuleTriggered"] == 0


def test_rules_of_a_newer_debugger_keep_their_name_and_counts(reports: Path) -> None:
    newer = {"RuleTriggered": 7, "Violations": 21, "Datapoints": 99, "Details": {"x": [1]}, "New": {}}
    (reports / "TensorCoreUsage.json").write_text(json.dumps(newer))
    found = {each.rule: each for each in ProfilingSession.attach(reports).findings}
    new = found["TensorCoreUsage"]
    assert (new.status, new.times_triggered, new.violations, new.datapoints) == ("issue", 7, 21, 99)
    assert (new.advice, new.evidence) == ("", "triggered 7 times; 21 violations in 99 datapoints")
    assert "TensorCoreUsage" in found["ProfilerReport"].advice
    only = check(open_profile(reports), choose_rules(["StepOutlier"]))
    assert [each.rule for each in only] == ["StepOutlier", "ProfilerReport"]


def test_other_parameters_are_noted_as_unsupported_by_a_report(reports: Path) -> None:
    (found, _) = check(open_profile(reports), [choose_rules(["StepOutlier"])[0].with_parameters({"stddev": 2.0})])
    assert found.evidence.endswith("; other parameters need the raw data, which isn't part of a report")
    assert found.times_triggered == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"RuleTriggered": 1,', "Expecting property name"),
        (b"[]", "no object with RuleTriggered"),
        (b'{"Violations": 1}', "no object with RuleTriggered"),
        (b'{"RuleTriggered": NaN}', "RuleTriggered is nan, not a count"),
        (b'{"RuleTriggered": 1, "Violations": Infinity}', "Violations is inf, not a count"),
        (b'{"RuleTriggered": -1}', "RuleTriggered is -1, not a count"),
        (b'{"RuleTriggered": 0, "Datapoints": 1.5}', "Datapoints is 1.5, not a count"),
        (b'{"RuleTriggered": "many"}', "RuleTriggered is 'many', not a count"),
        (b'{"RuleTriggered": null}', "RuleTriggered is None, not a count"),
        (b"\xff\xfe{\x00}\x00", "can't decode byte 0xff"),
        (b'{"RuleTriggered": 0, "Details": {"a": ' + b"[" * 50 + b"]" * 50 + b"}}", "nested more than 32 deep"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_report_is_named_and_the_others_are_read(reports: Path, content: bytes, reason: str) -> None:
    (reports / "BatchSize.json").write_bytes(content)
    session = ProfilingSession.attach(reports)
    found = {each.rule: each for each in session.findings}
    assert found["BatchSize"].status == "no_data"
    assert found["CPUBottleneck"].times_triggered == 31
    (note,) = session.profile.provenance.notes
    assert note.startswith("BatchSize.json is not a SageMaker rule report: ")
    assert reason in note
    for path in reports.iterdir():
        path.write_bytes(content)
    with pytest.raises(
        ProfileError, match="no rule report in .* can be read: BatchSize.json is not a SageMaker rule report"
    ):
        open_profile(reports)


def test_a_byte_order_mark_and_numbers_that_are_none_are_read_over(reports: Path, tmp_path: Path) -> None:
    text = (reports / "StepOutlier.json").read_text().replace('"p99": 12.0', '"p99": NaN').replace("30]", "1e999]")
    (reports / "StepOutlier.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    session = ProfilingSession.attach(reports)
    assert "13 outliers" in next(each.evidence for each in session.findings if each.rule == "StepOutlier")
    session.save(tmp_path / "out")
    assert ProfilingSession.attach(tmp_path / "out").findings == session.findings


HOSTILE: list[Any] = [None, "x", [], {}, -1, 1e308, float("nan"), 10**400, True, {"a": {"b": "c"}}, [{}]]


def variants(value: Any, hostile: Any) -> Iterator[Any]:
    """The value with each of its parts in turn replaced."""
    yield hostile
    if isinstance(value, dict):
        for name, each in value.items():
            yield from ({**value, name: other} for other in variants(each, hostile))


@pytest.mark.parametrize("shift", range(3))
def test_details_of_any_shape_make_findings_and_a_page(reports: Path, tmp_path: Path, shift: int) -> None:
    changed = {
        rule: [list(variants(rule_reports.report(rule)["Details"], hostile)) for hostile in HOSTILE]
        for rule in rule_reports.COUNTS
    }
    for at in range(max(len(each[0]) for each in changed.values())):
        for number, (rule, by_hostile) in enumerate(changed.items()):
            details = by_hostile[(4 * shift + at + number) % len(HOSTILE)]
            text = json.dumps({**rule_reports.report(rule), "Details": details[at % len(details)]})
            (reports / f"{rule}.json").write_text(text)
        session = ProfilingSession.attach(reports)
        render_report(session.profile, session.findings)
    session.save(tmp_path / "out")


def test_details_that_were_written_here_and_edited_are_not_trusted() -> None:
    details = {"status": "splendid", "evidence": 5, "usage": [{"node": "a", "kind": "tea"}, 3], "groups": [4, {}]}
    found = reported_finding(RuleReport(rule="OverallSystemUsage", details=details))
    assert (found.status, found.evidence) == ("no_data", "5")


@pytest.mark.parametrize("name", ["profiler-reports", "profiler-output", "rule-output", "ProfilerReport-17"])
def test_an_empty_folder_of_reports_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).mkdir()
    assert main(["profile", str(tmp_path / name)]) == 3
    assert f"{name} has no profiler-reports/<Rule>.json: give the folder ProfilerReport-" in capsys.readouterr().err


def test_an_empty_folder_says_what_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(tmp_path)]) == 3
    assert "holds no recorded run: give a folder with profile.json" in capsys.readouterr().err


def test_a_place_that_cant_be_looked_into_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "x" * 5000]) == 3
    assert "can't be read: File name too long" in capsys.readouterr().err


def test_reports_of_several_runs_are_refused(reports: Path) -> None:
    other = reports.parent.parent.with_name("ProfilerReport-1800000000")
    shutil.copytree(reports.parent.parent, other)
    with pytest.raises(ProfileError, match="has reports of 2 runs: give one of .*-1700000000.*, .*-1800000000"):
        open_profile(reports.parents[2])
    assert open_profile(other).job.name == "dogs-1"


def test_raw_data_is_judged_and_the_reports_beside_it_are_shown(reports: Path) -> None:
    job = reports.parents[3]
    sagemaker_folder.write(job)
    profile = open_profile(job)
    found = {each.rule: each for each in check(profile)}
    assert profile.job.source == "sagemaker"
    assert len(profile.reported) == len(rule_reports.COUNTS)
    assert found["StepOutlier"].violations == 12, "judged from the steps themselves"
    assert found["GPUMemoryIncrease"].datapoints in (0, 2000)
    page = render_report(profile, list(found.values()))
    assert "Counts of SageMaker&#39;s rules" in page
    assert "Not in these files" not in page


def test_reports_are_used_where_the_raw_data_beside_them_is_damaged(reports: Path) -> None:
    raw = reports.parents[3] / "profiler-output" / "system" / "incremental"
    raw.mkdir(parents=True)
    (raw / "1.algo-1.json").write_text("no sample")
    profile = open_profile(reports.parents[3])
    assert profile.job.source == "sagemaker report"
    assert any("the raw data beside the reports can't be used" in note for note in profile.provenance.notes)


def test_a_folder_of_images_is_not_taken_for_reports(tmp_path: Path) -> None:
    (tmp_path / "train" / "corgi").mkdir(parents=True)
    (tmp_path / "annotations.json").write_text('{"RuleTriggered": 1}')
    with pytest.raises(ProfileError, match="holds no recorded run"):
        open_profile(tmp_path)
    with pytest.raises(ProfileError, match="has no profiler-reports"):
        read_report_folder(tmp_path)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("level", ["", "profiler-output", "profiler-output/profiler-reports"])
def test_reports_that_sagemaker_wrote_show_what_its_own_page_showed(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int, level: str
) -> None:
    job = shared_data / "sagemaker-reports" / f"report-{number}"
    if not job.is_dir():
        pytest.skip("no reports of SageMaker")
    document = told(job / level, tmp_path, capsys)
    found = {each["rule"]: each for each in document["findings"]}
    with (job / "aws-page.csv").open() as file:
        expected = {row["rule"]: (int(row["times_triggered"]), int(row["datapoints"])) for row in csv.DictReader(file)}
    assert len(expected) == 9
    assert {rule: (found[rule]["times_triggered"], found[rule]["datapoints"]) for rule in expected} == expected
    with (job / "aws-page-steps.csv").open() as file:
        (row,) = csv.DictReader(file)
    (steps,) = document["steps"]
    assert (steps["node"], steps["outliers"]) == (row["node"], int(row["outliers"]))
    assert steps["mean_seconds"] == pytest.approx(float(row["mean_seconds"]), abs=0.005)
    assert steps["standard_deviation_seconds"] == pytest.approx(float(row["standard_deviation_seconds"]), abs=0.005)
    assert {found[rule]["status"] for rule in ("OverallFrameworkMetrics", "OverallSystemUsage")} == {"ok"}
    files = job / "profiler-output" / "profiler-reports"
    assert [each.rule for each in read_rule_reports(files)] == sorted(path.stem for path in files.iterdir())
