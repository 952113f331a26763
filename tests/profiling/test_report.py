"""The page, the trace and the comparison: what they state, how large they get, what they show of odd runs."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from breedclf.profiling.profile import JobInfo, Profile
from breedclf.profiling.readers.sagemaker import read_profiler_folder
from breedclf.profiling.report import render_report, write_trace
from breedclf.profiling.report.diff import as_text, compare
from breedclf.profiling.report.summary import flops_share, outlier_moments, parts_of
from breedclf.profiling.rules import check
from breedclf.profiling.verified import conclude, judge
from tests.profiling import planted_profiles as planted, sagemaker_folder
from tests.profiling.planted_faults import FAULTS


def page(profile: Profile) -> str:
    return re.sub(r"\s+", " ", render_report(profile, check(profile)))


def test_the_report_of_the_golden_folder_has_the_facts(tmp_path: Path) -> None:
    text = page(read_profiler_folder(sagemaker_folder.write(tmp_path)))
    for fact in (
        "algo-1-27",
        "12 steps of 300 took longer than 13.97 s",
        "mean 5.00 s + 3 x standard deviation 2.99 s",
        "1 worker for 8 cores",
        "Raise the number of workers",
        "34.9 min (2,094 s)",
        "2020-09-13 12:26:40 UTC",
    ):
        assert fact in text, fact
    assert "pin_memory=True" not in text


def test_every_section_of_a_whole_run_is_there_and_nothing_is_fetched() -> None:
    text = page(planted.clean())
    for heading in (
        "The job",
        "Phases and parts of steps",
        "Timeline",
        "Machine usage",
        "The training loop",
        "Operators",
        "Rules",
    ):
        assert f">{heading}<" in text, heading
    assert "No issues found" in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_summary_comes_first_and_names_the_fault(fault: str) -> None:
    rule, _, profile = FAULTS[fault]
    text = page(profile())
    assert text.index(f"<strong>{rule}</strong>") < text.index(">The job<")


@pytest.mark.parametrize(
    "profile",
    [
        Profile(job=JobInfo(name="<script>alert(1)</script>", start=0.0, end=0.0)),
        planted.clean(steps=planted.steps(1)),
        planted.clean(system=planted.System()),
        planted.clean(job=planted.job(status="Incomplete")),
    ],
)
def test_odd_runs_have_a_page_too(profile: Profile) -> None:
    text = page(profile)
    assert "<script>alert" not in text
    assert ("did not finish" in text) == (profile.job.status == "Incomplete")


def test_a_hundred_thousand_steps_make_a_page_below_three_megabytes() -> None:
    draw = planted.random()
    long = planted.steps(duration=4e-3 * (1 + 0.1 * draw.standard_normal(100_000)))
    assert len(page(planted.clean(steps=long))) < 3e6


def test_the_trace_holds_stages_steps_parts_operators_and_counters(tmp_path: Path) -> None:
    profile = planted.clean()
    traced = [{"name": "aten::addmm", "ts": (profile.job.start + 3.0) * 1e6, "dur": 5.0, "tid": 7}]
    write_trace(profile, tmp_path / "trace.json", traced)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sum(event["name"] in ("train", "valid") for event in events) == 400
    assert {event["name"] for event in events if event["ph"] == "X"} >= {"initialization", "data_wait", "backward"}
    assert {event["name"] for event in events if event["ph"] == "C"} >= {"cpu cpu0", "memory memory"}
    (operator,) = [event for event in events if event["name"] == "aten::addmm"]
    assert operator["ts"] == pytest.approx(3e6, abs=1)
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")


def test_the_parts_of_a_phase_add_up_to_it() -> None:
    parts = parts_of(planted.clean(), "train")
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert parts[0].name == "waiting for data"


def test_the_share_of_the_machines_speed() -> None:
    # 3e11 FLOP a step of one second on a machine that does 6e11
    assert flops_share(planted.clean()) == pytest.approx(0.5, rel=0.01)


def test_an_outlier_is_joined_with_the_machine_of_its_moment() -> None:
    busy = planted.series("io_wait", [90.0 if 100 <= t < 110 else 1.0 for t in planted.np.arange(0, 400, 0.5)], noise=0)
    profile = planted.clean(system=planted.System(series=(busy,)))
    index = int(planted.np.searchsorted(profile.steps.start, 104))
    (moment,) = outlier_moments(profile, [index])
    then, usually = moment.machine["io_wait"]
    assert then == 90
    assert usually < 5


def test_two_runs_are_compared() -> None:
    slow = FAULTS["no workers"][2]()
    fast = planted.clean(job=planted.job(settings={"workers": 7}))
    difference = compare(slow, fast)
    assert "Dataloader" in difference.gone_issues
    assert difference.settings == {"workers": (None, 7)}
    text = as_text(difference)
    assert "no longer an issue: Dataloader" in text
    assert re.search(r"share of train steps: waiting for data: 0\.6 -> 0\.02", text)


def test_tried_advice_is_in_the_report_with_its_spread() -> None:
    trial = judge("workers = 2", {"workers": 2}, [61.0, 61.2, 61.4, 61.1, 61.3], [38.0, 38.1, 37.9, 38.2, 38.0])
    slower = judge("channels_last", {"channels_last": True}, [61.0, 61.2, 61.4], [62.0, 61.9, 62.1])
    profile = planted.clean()
    text = render_report(profile, check(profile), conclude([trial, slower]))
    assert "workers = 2: 61.20 s -&gt; 38.00 s (1.61x), n = 5, measured." in text
    assert "not faster" in text


def test_only_what_is_faster_is_recommended() -> None:
    noise = judge("a", {"a": 1}, [10.0, 12.0, 11.0, 9.0], [9.9, 11.0, 10.5, 9.5])
    good = judge("b", {"b": 1}, [10.0, 10.1, 10.2, 10.1], [8.0, 8.1, 8.1, 8.2])
    worse_together = judge("a and b", {"a": 1, "b": 1}, [10.0, 10.1], [9.0, 9.1])
    verification = conclude([noise, good], worse_together)
    assert verification.recommended == {"b": 1}
    assert conclude([noise]).recommended == {}


def test_the_results_section_of_the_original_can_be_written_from_the_report_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "05_profile.py"))
    recorded = sagemaker_folder.write(tmp_path / "job")
    example["main"]("--recorded", str(recorded), "--output", str(tmp_path / "out"))
    text = capsys.readouterr().out
    for fact in (
        "started at 2020-09-13 12:26:40 UTC and ran 2,094 s.",
        "StepOutlier, node algo-1-27, phase train: mean step 5.00 s, standard deviation 2.99 s, 12 outliers above "
        "13.97 s.",
        "100% of the traced time was spent in CPU operators, by their own time:\n  aten::mkldnn_convolution 43%",
        "As SageMaker counts, including nested calls several times: aten::conv2d, 19%.",
        "Dataloader: 1 worker for 8 cores (12%); the recommended range is 70% to 200%. Raise the number of workers",
        "Pinned memory would make no difference: the job used no GPU.",
    ):
        assert fact in text, fact
    profile = planted.clean()
    lines = example["results"](profile, check(profile))
    assert lines[1:3] == [
        "100% of the traced time was spent in CPU operators, by their own time:",
        "  aten::mkldnn_convolution 80%",
    ]
    assert (tmp_path / "out" / "report.html").is_file()
