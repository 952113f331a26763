"""Raw profiler folders of other frameworks, and damaged ones: what can be read is read, the rest gives its reason."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from breedclf import ProfilingSession
from breedclf.errors import ProfileError
from breedclf.profiling.report import render_report
from breedclf.profiling.rules import check
from breedclf.profiling.sources import open_profile

START = 1_600_000_000_000_000
SAMPLE = (
    '{"Type":"cpu","Name":"cpu0","Dimension":"CPUUtilization","Value":5,"NodeId":"algo-1","Timestamp":1600000001.5}'
)


def process(pid: Any, name: str) -> dict[str, Any]:
    return {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}}


def clock() -> dict[str, Any]:
    return {"name": "process_name", "ph": "M", "pid": 0, "args": {"start_time_since_epoch_in_micros": START}}


def spent(name: str, pid: Any, ts: Any, dur: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "ph": "X", "pid": pid, "ts": ts, "dur": dur, **more}


def put(folder: Path, name: str, content: Any) -> Path:
    path = folder / "framework" / "pevents" / "2020091312" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def put_samples(folder: Path, text: str, name: str = "1600000001.algo-1.json") -> None:
    path = folder / "system" / "incremental" / "2020091312" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_horovods_exchange_of_gradients_is_read_as_operators(tmp_path: Path) -> None:
    events = [
        {"name": "NEGOTIATE_ALLREDUCE", "ph": "B", "pid": 1, "ts": 1000},
        {"name": "0", "ph": "X", "pid": 1, "ts": 1100, "dur": 0},
        {"ph": "E", "pid": 1, "ts": 3000},
        {"name": "ALLREDUCE", "ph": "B", "pid": 1, "ts": 3000},
        {"name": "NCCL_ALLREDUCE", "ph": "B", "pid": 1, "ts": 3500},
        {"ph": "E", "pid": 1, "ts": 5500},
        {"ph": "E", "pid": 1, "ts": 6000},
        {"name": "ALLREDUCE", "ph": "B", "pid": 1, "ts": 7000},
        process(1, "gradients/conv1"),  # named after its events
    ]
    put(tmp_path, f"{START}_44-algo-2_horovod_timeline.json", [clock(), *events])
    profile = open_profile(tmp_path)
    own = {each.name: (each.calls, round(each.self_seconds * 1e6)) for each in profile.operators}
    assert own == {"NEGOTIATE_ALLREDUCE": (1, 2000), "0": (1, 0), "ALLREDUCE": (1, 1000), "NCCL_ALLREDUCE": (1, 2000)}
    assert profile.job.start == pytest.approx(START / 1e6 + 1e-3)
    assert profile.job.seconds == pytest.approx(5e-3, abs=1e-6)
    assert any("1 events never end" in note for note in profile.provenance.notes)
    assert "NCCL_ALLREDUCE" in render_report(profile, check(profile))


@pytest.mark.parametrize("packed", [False, True])
def test_a_trace_of_tensorflow_gives_operators_by_device(tmp_path: Path, packed: bool) -> None:
    events = [
        process(7, "/host:CPU"),
        process(1, "/device:GPU:0"),
        spent("MatMul", 7, 10, 30, tid=1),
        spent("Cast", 7, 15, 10, tid=1),
        spent("sgemm", 1, 20, 25, tid=3),
    ]
    text = json.dumps({"displayTimeUnit": "ns", "traceEvents": [*events, {}]}).encode()
    name = "host.trace.json.gz" if packed else "host.trace.json"
    put(tmp_path, name, gzip.compress(text, mtime=0) if packed else text)
    put(tmp_path, "host.xplane.pb", b"\n\x07")
    put(tmp_path, "host.memory.stats", b"x")
    profile = open_profile(tmp_path)
    own = {(each.name, each.device): round(each.self_seconds * 1e6) for each in profile.operators}
    assert own == {("MatMul", "cpu"): 20, ("Cast", "cpu"): 10, ("sgemm", "gpu"): 25}
    assert profile.job.seconds < 1
    notes = " / ".join(profile.provenance.notes)
    assert "skipped 1 *.pb files (protocol buffers of TensorFlow's profiler: open them in TensorBoard)" in notes
    assert "skipped 1 *.stats files (unsupported file type)" in notes


def test_operators_without_a_date_dont_stretch_a_run_that_has_one(tmp_path: Path) -> None:
    put_samples(tmp_path, SAMPLE)
    put(tmp_path, "host.trace.json", [process(7, "/host:CPU"), spent("MatMul", 7, 10, 30)])
    profile = open_profile(tmp_path)
    assert (profile.job.start, profile.job.seconds) == (1600000001.5, 0.0)
    assert [each.name for each in profile.operators] == ["MatMul"]


def test_events_that_no_rule_asks_for_are_counted_by_kind(tmp_path: Path) -> None:
    for number in range(3):
        data = [clock(), process(1, "DataIterator"), *(spent("dataset::GetNext", 1, at, 5) for at in range(7))]
        put(tmp_path, f"{START + number}_905-algo-1_model_timeline.json", data)
    with pytest.raises(ProfileError, match="can be read: 21 events of DataIterator .dataset::GetNext. in"):
        open_profile(tmp_path)
    put(tmp_path, f"{START}_905-algo-1_pythontimeline.json", [clock(), spent("Step:ModeKeys.TRAIN", 1, 5, 9)])
    profile = open_profile(tmp_path)
    assert profile.steps.nodes == ("algo-1-905",)
    (note,) = profile.provenance.notes
    assert note == (
        "21 events of DataIterator (dataset::GetNext) in model_timeline files were skipped: not steps, operators or "
        "DataLoader workers"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1_5-a_pythontimeline.json", b"", "1_5-a_pythontimeline.json is empty"),
        ("1_5-a_pythontimeline.json", b"\x00\xff\x13", "is truncated or damaged"),
        ("1_5-a_pythontimeline.json", b"17", "has no list of events"),
        ("1_5-a_pythontimeline.json", b'{"traceEvents": 5}', "has no list of events"),
        ("1_5-a_pythontimeline.json", b"[" * 100_000, "is truncated or damaged"),
        ("1_5-a_pythontimeline.json", [spent("TRAIN", 1, 1e30, 5)], "events without a valid time"),
        ("1_5-a_pythontimeline.json", [spent("TRAIN", 1, None, 5)], "events without a valid time"),
        (
            "1_5-a_pythontimeline.json",
            [clock(), spent("event1", 1, 4, 5)],
            "1 events of event1 in pythontimeline files",
        ),
        ("host.trace.json.gz", b"no gzip", "host.trace.json.gz can't be read"),
        ("host.trace.json.gz", gzip.compress(b"[{}]", mtime=0)[:-9], "host.trace.json.gz can't be read"),
        ("python_stats", b"x", "skipped 1 unnamed files"),
        ("events.tfevents.17", b"x", "skipped 1 *.tfevents files"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_and_the_others_are_read(
    tmp_path: Path, name: str, content: Any, reason: str
) -> None:
    put(tmp_path, name, content)
    with pytest.raises(ProfileError, match="nothing in .* can be read: ") as caught:
        open_profile(tmp_path)
    assert reason in str(caught.value)
    put_samples(tmp_path, f"\ufeff{SAMPLE}\nno sample\n" + SAMPLE.replace("1600000001.5", "1e400"))
    profile = open_profile(tmp_path)
    assert len(profile.system.series) == 1
    notes = " / ".join(profile.provenance.notes)
    assert reason in notes
    assert "2 lines of 1600000001.algo-1.json are damaged or unknown" in notes


def test_an_empty_folder_of_raw_data_says_so(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    with pytest.raises(ProfileError, match="nothing in .* can be read: it has no files"):
        open_profile(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_events_and_samples_of_any_shape_never_crash(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    hostile: list[Any] = [None, -1, 1e300, 10**400, float("nan"), "x", [], {}, True, [{}], {"a": []}, 1e15]
    usual = {"name": "TRAIN", "ph": "X", "pid": 1, "tid": 2, "ts": 5, "dur": 6, "args": {"step_num": "1"}}
    sample = json.loads(SAMPLE)
    events: list[Any] = [clock(), process(1, "Step:ModeKeys.TRAIN"), process(3, "cpu_functions")]
    lines = []
    for _ in range(300):
        event = {**usual, "ph": draw.choice("XXXBEM"), "pid": draw.choice([1, 2, 3])}
        event[draw.choice(list(event))] = draw.choice(hostile)
        events.append(event if draw.random() < 0.9 else draw.choice(hostile))
        lines.append(json.dumps({**sample, draw.choice(list(sample)): draw.choice(hostile)}))
    put(tmp_path, "1_5-algo-1_pythontimeline.json", events)
    put_samples(tmp_path, "\n".join([*lines, "17", "[]", "null"]))
    profile = open_profile(tmp_path)
    assert len(profile.steps) > 10
    render_report(profile, check(profile))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("hostile", [None, -1, -1e15, 1e30, 1e300, 10**400, float("nan"), "x", [], {}, True])
def test_a_torch_trace_with_impossible_times_keeps_its_other_events(tmp_path: Path, hostile: Any) -> None:
    good = spent("aten::add", 1, 10, 5, cat="cpu_op", tid=1)
    for name in ("ts", "dur", "baseTimeNanoseconds", "cat", "tid", "name"):
        events = [good, {**good, name: hostile}]
        document = {"schemaVersion": 1, "traceEvents": events, "baseTimeNanoseconds": 0}
        path = tmp_path / "run.pt.trace.json"
        path.write_text(json.dumps({**document, name: hostile} if name.startswith("base") else document))
        profile = open_profile(path)
        assert "aten::add" in [each.name for each in profile.operators]
        render_report(profile, check(profile))


def test_a_loss_beyond_all_measure_counts_as_infinite() -> None:
    with ProfilingSession.record() as session:
        for loss in (1.0, 1e200, -1e200):
            session.step(loss=loss)
    assert session.profile.learning.step_loss.tolist() == [1.0, float("inf"), float("-inf")]


@pytest.mark.parametrize(("name", "steps", "kind"), [("merge_traces", 40, "model_"), ("test_traces", 0, "python")])
def test_folders_of_the_debuggers_own_tests_are_read(shared_data: Path, name: str, steps: int, kind: str) -> None:
    folder = shared_data / "sagemaker-reports" / "traces" / name
    if not folder.is_dir():
        pytest.skip("no traces of the debugger's tests")
    profile = open_profile(folder)
    assert len(profile.steps) == steps
    assert any(kind in note for note in profile.provenance.notes)
