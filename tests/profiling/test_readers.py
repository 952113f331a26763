"""Reading what others recorded: SageMaker's folders, its rule reports, PyTorch's traces, and their damaged forms."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from breedclf.errors import ProfileError
from breedclf.profiling.readers.aws_report import read_rule_reports, write_rule_reports
from breedclf.profiling.readers.sagemaker import read_profiler_folder
from breedclf.profiling.readers.torch_trace import read_torch_trace
from breedclf.profiling.report.summary import aws_shares
from breedclf.profiling.rules import check
from tests.profiling import planted_profiles as planted, sagemaker_folder


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sagemaker_folder.write(tmp_path_factory.mktemp("job"))


def test_the_golden_folder_gives_the_facts_of_the_original_report(golden: Path) -> None:
    profile = read_profiler_folder(golden)
    findings = {found.rule: found for found in check(profile)}
    group = findings["StepOutlier"].details["groups"][0]
    assert findings["StepOutlier"].status == "issue"
    assert (group["node"], group["phase"], len(group["outliers"])) == ("algo-1-27", "train", 12)
    assert group["mean"] == pytest.approx(5.0, abs=0.005)
    assert group["stddev"] == pytest.approx(2.99, abs=0.005)
    assert group["threshold"] == pytest.approx(13.97, abs=0.01)
    assert "12 steps of 300 took longer than 13.97 s (mean 5.00 s + 3 x standard deviation 2.99 s" in (
        findings["StepOutlier"].evidence
    )
    assert findings["Dataloader"].evidence.startswith("1 worker for 8 cores (12%)")
    assert "Raise the number of workers" in findings["Dataloader"].advice
    assert "pin_memory" not in findings["Dataloader"].advice  # no GPU: it would do nothing
    assert profile.job.seconds == pytest.approx(2094, abs=1)
    assert profile.job.initialization_seconds == pytest.approx(60)
    assert profile.job.status == "Completed"
    # "100% cpu_functions, most expensive conv2d, 19%": by its own time it is what conv2d calls in the end
    assert {operator.device for operator in profile.operators} == {"cpu"}
    counted = aws_shares(profile.operators)
    assert max(counted, key=lambda name: counted[name]) == "aten::conv2d"
    assert counted["aten::conv2d"] == pytest.approx(0.19, abs=0.005)
    own = {operator.name: operator.self_seconds for operator in profile.operators}
    assert max(own, key=lambda name: own[name]) == "aten::mkldnn_convolution"
    assert own["aten::mkldnn_convolution"] / sum(own.values()) == pytest.approx(0.98 / 2.3, abs=0.005)
    assert own["aten::conv2d"] == pytest.approx(0.5e-3, abs=1e-6)


def test_lines_of_every_kind_are_sorted_into_kinds(tmp_path: Path) -> None:
    lines = [
        {"Type": "gpu", "Name": "gpu0", "Dimension": "GPUUtilization", "Value": 50},
        {"Type": "gpu", "Name": "gpu0", "Dimension": "GPUMemoryUtilization", "Value": 40},
        {"Type": "cpu", "Name": "cpu3", "Dimension": "CPUUtilization", "Value": 30},
        {"Type": "memory", "Name": "MemoryUsedPercent", "Dimension": "Percent", "Value": 20},
        {"Type": "disk", "Name": "IO", "Dimension": "ReadThroughputInBytesPerSecond", "Value": 10},
        {"Type": "network", "Name": "eth0", "Dimension": "ReceiveBytesPerSecond", "Value": 5},
        {"Type": "fan", "Name": "fan0", "Dimension": "Speed", "Value": 5},
    ]
    _write_system(tmp_path, [json.dumps({**line, "NodeId": "algo-1", "Timestamp": 1.6e9}) for line in lines])
    profile = read_profiler_folder(tmp_path)
    found = {(series.kind, series.value[0]) for series in profile.system.series}
    assert found == {("gpu", 50), ("gpu_memory", 40), ("cpu", 30), ("memory", 20), ("disk_read", 10), ("network", 5)}
    assert any("'Speed' are of an unknown kind" in note for note in profile.provenance.notes)


def test_damaged_and_interleaved_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    good = '{"Type":"cpu","Name":"cpu0","Dimension":"CPUUtilization","Value":4.76,"NodeId":"algo-1","Timestamp":%s}'
    lines = [good % 1591160700, good % 1591160699.5, '{"Type":"cpu","Na', "null", good.replace("4.76", "NaN") % 1]
    _write_system(tmp_path, lines)
    profile = read_profiler_folder(tmp_path)
    assert profile.system.series[0].time.tolist() == [0.0, 0.5]
    assert any("3 lines" in note for note in profile.provenance.notes)
    assert any("out of order" in note for note in profile.provenance.notes)


def test_a_timeline_cut_short_gives_its_whole_events(golden: Path, tmp_path: Path) -> None:
    source = next(golden.rglob("*pythontimeline.json"))
    folder = tmp_path / "framework" / "pevents" / "2020091312"
    folder.mkdir(parents=True)
    (folder / source.name).write_text(source.read_text()[:20_000])
    profile = read_profiler_folder(tmp_path)
    assert 50 < len(profile.steps) < 300
    assert profile.job.status == "Incomplete"
    assert any("truncated" in note for note in profile.provenance.notes)


def test_a_clock_that_goes_back_costs_its_steps_only(tmp_path: Path) -> None:
    folder = tmp_path / "framework" / "pevents" / "x"
    folder.mkdir(parents=True)
    named = {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "Step:ModeKeys.TRAIN"}}
    steps = [{"ph": "X", "pid": 1, "ts": ts, "dur": dur} for ts, dur in ((5e6, 1e6), (1e6, 1e6), (7e6, -3e6))]
    (folder / "1_2-algo-2_pythontimeline.json").write_text(json.dumps([named, *steps]))
    profile = read_profiler_folder(tmp_path)
    assert profile.steps.start.tolist() == [0.0, 4.0]
    assert profile.steps.nodes == ("algo-2-2",)
    assert any("the clock went back" in note for note in profile.provenance.notes)


def test_files_beyond_reason_are_left_out_or_refused(tmp_path: Path) -> None:
    _write_system(tmp_path, ['{"Type":"cpu","Name":"cpu0","Dimension":"CPUUtilization","Value":5,"Timestamp":1.6e9}'])
    with (tmp_path / "system" / "incremental" / "2020060305" / "1591160759.algo-1.json").open("wb") as file:
        file.truncate(2_000_000_001)  # takes no room on the disk
    profile = read_profiler_folder(tmp_path)
    assert any(
        "1591160759.algo-1.json is larger than 2 GB and was skipped" in note for note in profile.provenance.notes
    )
    assert len(profile.system.series) == 1
    with (tmp_path / "run.pt.trace.json").open("wb") as file:
        file.truncate(4_000_000_001)
    with pytest.raises(ProfileError, match="larger than 4 GB: trace only three to five steps"):
        read_torch_trace(tmp_path / "run.pt.trace.json")


@pytest.mark.parametrize("content", [None, "", "not json at all"])
def test_a_folder_without_anything_readable_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is None:
        with pytest.raises(ProfileError, match="has neither system/ nor framework/"):
            read_profiler_folder(tmp_path)
        return
    _write_system(tmp_path, [content])
    with pytest.raises(ProfileError, match="nothing in .* can be read"):
        read_profiler_folder(tmp_path)


def test_rule_reports_keep_their_shape_and_read_back(tmp_path: Path) -> None:
    findings = check(planted.clean())
    write_rule_reports(findings, tmp_path)
    report = json.loads((tmp_path / "profiler-reports" / "StepOutlier.json").read_text())
    assert set(report) == {"RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"}
    again = {found.rule: found for found in read_rule_reports(tmp_path)}
    assert {rule: found.status for rule, found in again.items()} == {found.rule: found.status for found in findings}


def test_a_report_of_sagemaker_counts_no_data_as_no_data(tmp_path: Path) -> None:
    folder = tmp_path / "rule-output" / "profiler-reports"
    folder.mkdir(parents=True)
    empty = {
        "RuleTriggered": 0,
        "Violations": 0,
        "Details": {},
        "Datapoints": 0,
        "RuleParameters": "stddev:3\nmode:None",
    }
    (folder / "StepOutlier.json").write_text(json.dumps(empty))
    (found,) = read_rule_reports(tmp_path)
    assert (found.status, found.parameters) == ("no_data", {"stddev": "3", "mode": "None"})
    (folder / "Dataloader.json").write_text("[]")
    with pytest.raises(ProfileError, match=r"Dataloader.json is not a SageMaker rule report"):
        read_rule_reports(tmp_path)


def test_a_torch_trace_gives_operators_by_their_own_time(tmp_path: Path) -> None:
    path = tmp_path / "run.pt.trace.json"
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU],
        schedule=torch.profiler.schedule(wait=0, warmup=1, active=3, repeat=1),
    ) as traced:
        for _ in range(5):
            torch.nn.functional.conv2d(torch.ones(4, 8, 32, 32), torch.ones(8, 8, 3, 3)).sum()
            traced.step()
    traced.export_chrome_trace(str(path))
    profile = read_torch_trace(path)
    by_name = {operator.name: operator for operator in profile.operators}
    conv = by_name["aten::conv2d"]
    assert conv.calls == 3
    assert conv.inclusive_seconds > conv.self_seconds > 0  # the convolution inside it takes the rest
    own = sum(operator.self_seconds for operator in profile.operators)
    outer = sum(by_name[name].inclusive_seconds for name in ("aten::conv2d", "aten::sum", "aten::ones"))
    assert own == pytest.approx(outer, rel=0.02)
    assert len(profile.steps) == 3

    zipped = tmp_path / "run.pt.trace.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert len(read_torch_trace(zipped).operators) == len(profile.operators)

    text = path.read_text()
    short = tmp_path / "short.json"
    short.write_text(text[: text.rfind('"aten::sum"')])
    assert any("truncated" in note for note in read_torch_trace(short).provenance.notes)


@pytest.mark.parametrize(
    ("text", "message"), [("", "is empty"), ('{"a": 1}', "no timed events"), ("[1, 2]", "no timed events")]
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        read_torch_trace(path)


def _write_system(root: Path, lines: list[str]) -> None:
    folder = root / "system" / "incremental" / "2020060305"
    folder.mkdir(parents=True)
    (folder / "1591160699.algo-1.json").write_text("\n".join(lines))
