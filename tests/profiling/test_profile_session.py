"""`ProfilingSession` and `breedclf profile`, as their users meet them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from breedclf import Job, LocalBackend, ProfilingSession, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.errors import ConfigError, DataError, ProfileError
from breedclf.profiling.profile import JobInfo, Loader, Profile
from breedclf.profiling.rules import ALL_RULES, Finding, check, ok
from breedclf.profiling.verified import judge
from breedclf.profiling.verify import candidates, timed_fit, verify
from tests.image_folders import write_noise
from tests.profiling import planted_profiles as planted, sagemaker_folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("images"), train=6, valid=2)


def flags(folder: Path) -> list[str]:
    return [
        *("--architecture", "resnet18", "--weights", "none", "--epochs", "2", "--batch-size", "4", "--chunk-size", "4"),
        *("--cache-dir", str(folder / "cache"), "--output", str(folder / "out"), "--quiet"),
    ]


def config(pictures: Path, folder: Path, **settings: Any) -> TrainingConfig:
    given = {"architecture": "resnet18", "weights": "none", "epochs": 2, "batch_size": 4, "chunk_size": 4, "workers": 0}
    return TrainingConfig(
        **{"data": pictures, "output": folder / "out", "cache_dir": folder / "cache", **given, **settings}
    )


def test_a_folder_is_profiled_from_the_command_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(pictures), *flags(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [found["rule"] for found in document["findings"]] == [*ALL_RULES, "ProfilerReport"]
    assert {"rule", "status", "evidence", "advice"} <= set(document["findings"][0])
    assert document["verified"] == []
    for name in ("report.html", "profile.json", "trace.json", "rule-output/profiler-reports/StepOutlier.json"):
        assert (tmp_path / "out" / name).is_file(), name
    events = json.loads((tmp_path / "out" / "trace.json").read_text())["traceEvents"]
    assert any(str(event["name"]).startswith("aten::") for event in events)

    # the folder that came of it is a recorded run in its turn
    assert main(["profile", str(tmp_path / "out"), "--output", str(tmp_path / "again"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["findings"] == document["findings"]


def test_sagemakers_folder_is_reported_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = sagemaker_folder.write(tmp_path / "job")
    chosen = ["--rules", "StepOutlier:n_outliers=11", "Dataloader"]
    assert main(["profile", str(root), "--output", str(tmp_path / "out"), *chosen]) == 0
    text = capsys.readouterr().out
    assert "!!  StepOutlier: node algo-1-27, phase train: 12 steps of 300" in text
    assert "!!  Dataloader: 1 worker for 8 cores" in text
    assert "ClassImbalance" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rules", "StepOutlyer"], "unknown rule 'StepOutlyer': did you mean 'StepOutlier'?"),
        (["--rules", "StepOutlier:sd=2"], "rule StepOutlier has no parameter 'sd'"),
        (["--rules", "StepOutlier:stddev"], "'stddev' is not PARAMETER=VALUE"),
        (["--rules", "StepOutlier:stddev=much"], "rule StepOutlier, stddev='much'"),
        (["--verify", "--repeats", "2"], "repeats=2: a comparison needs at least 5"),
        (["--verify", "--also", "compile_network"], "--also 'compile_network' is not SETTING=VALUE"),
    ],
)
def test_wrong_words_are_answered_with_what_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    planted.clean().save(tmp_path / "profile.json")
    assert main(["profile", str(tmp_path), "--output", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "profile.json is empty"),
        ('{"schema_version": 99, "job": {}}', "written by a newer breedclf"),
        ('{"schema_version": 1, "job"', "is truncated or not JSON"),
    ],
)
def test_a_damaged_profile_ends_with_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "profile.json").write_text(content)
    assert main(["profile", str(tmp_path)]) == 3
    assert message in capsys.readouterr().err


def test_a_foreign_file_ends_with_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trace.json").write_text("[1, 2, 3]")
    assert main(["profile", str(tmp_path / "trace.json")]) == 3
    assert "not a breedclf profile" in capsys.readouterr().err
    (tmp_path / "run.pt.trace.json").write_text("")
    assert main(["profile", str(tmp_path / "run.pt.trace.json")]) == 3
    assert "run.pt.trace.json is empty" in capsys.readouterr().err


def test_two_recorded_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted.clean().save(tmp_path / "a.json")
    planted.clean(job=planted.job(end=1_600_000_201.5)).save(tmp_path / "b.json")
    assert main(["profile", "diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["changes"][0]
    assert (first["what"], first["ratio"]) == ("duration", 0.5)
    assert main(["profile", "diff", str(tmp_path / "a.json")]) == 2


def test_a_failed_run_keeps_its_profile(tmp_path: Path) -> None:
    broken = tmp_path / "train" / "basset"
    broken.mkdir(parents=True)
    for split in ("train", "valid"):
        for name in ("basset", "corgi"):
            (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / name / "0.jpg").write_bytes(b"no image")
    session = ProfilingSession(config(tmp_path, tmp_path / "run"))
    with pytest.raises(DataError):
        session.run()
    assert session.profile.job.status == "Failed"
    assert {found.status for found in session.findings} <= {"no_data", "not_applicable", "ok", "issue"}
    assert Profile.load(tmp_path / "run" / "out").job.status == "Failed"


def test_rules_of_ones_own_and_wrong_ones() -> None:
    def always(profile: Profile) -> Finding:
        """Says how long it took."""
        return ok(f"{profile.job.seconds:.0f} s", datapoints=1)

    session = ProfilingSession(rules=[always])
    session._profile = planted.clean()
    assert [found.rule for found in session.findings] == ["always", "ProfilerReport"]
    with pytest.raises(ConfigError, match="unknown rule 'Nope'"):
        ProfilingSession(rules=["Nope"])


def test_rules_of_ones_own_take_parameters_beside_all_others() -> None:
    def slow(profile: Profile, *, limit: float = 10.0) -> Finding:
        return ok(f"{profile.job.seconds:.0f} s of at most {limit:g}", datapoints=1)

    session = ProfilingSession(rules={slow: {"limit": 99}, "StepOutlier": {"stddev": 9}})
    session._profile = planted.clean()
    found = {finding.rule: finding for finding in session.findings}
    assert found["slow"].parameters == {"limit": 99}
    assert "of at most 99" in found["slow"].evidence
    assert found["StepOutlier"].parameters["stddev"] == 9
    assert len(found) == len(ALL_RULES) + 2
    wrong: list[tuple[Any, str]] = [
        ({slow: {"limits": 1}}, "rule slow has no parameter 'limits': did you mean 'limit'?"),
        ({slow: 3}, "must be a mapping such as {'limit': 3}, not 3"),
        ({3: {}}, "3 is no rule: give the name of one, or a function check"),
        ([3], "3 is no rule"),
        ("StepOutlier", "rules='StepOutlier': give a list of rules, or a mapping"),
    ]
    for rules, said in wrong:
        with pytest.raises(ConfigError) as caught:
            ProfilingSession(rules=rules)
        assert said in str(caught.value)


def test_results_requested_too_early_are_refused() -> None:
    with pytest.raises(ProfileError, match="nothing is recorded yet"):
        _ = ProfilingSession().findings
    with pytest.raises(ConfigError, match="has no config"):
        ProfilingSession().run()
    with pytest.raises(ConfigError, match="call verify"):
        _ = ProfilingSession(TrainingConfig(data="x")).recommended_config
    with pytest.raises(ProfileError, match="^/nowhere doesn't exist: give a folder"):
        ProfilingSession.attach(Path("/nowhere"))


def test_a_loop_of_ones_own_is_recorded(tmp_path: Path) -> None:
    data = TensorDataset(torch.randn(64, 8), torch.randint(0, 2, (64,)))
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ProfilingSession.record(tmp_path, name="own loop") as session:
        session.watch(model, optimizer)
        for epoch in (1, 2):
            session.phase("train", epoch)
            for inputs, targets in session.batches(DataLoader(data, batch_size=8)):
                loss = nn.functional.cross_entropy(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                session.step(pictures=len(inputs), loss=loss.item())
    profile = session.profile
    assert len(profile.steps) == 16
    assert set(profile.steps.parts) == {"data_wait", "forward", "backward", "optimizer"}
    assert (profile.loader.workers, profile.loader.batch_size) == (0, 8)
    assert any("addmm" in operator.name for operator in profile.operators)
    gradients = {tensor.name for tensor in profile.tensors if tensor.kind == "gradient"}
    assert gradients == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert len(profile.learning.step_loss) == 16
    assert Profile.load(tmp_path).job.source == "foreign loop"
    model(torch.ones(1, 8))  # the hooks are gone
    assert len(session.profile.steps) == 16


def test_a_loop_that_fails_is_recorded_until_then(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ProfilingSession.record(tmp_path, trace=False) as session:
        session.step()
        _ = 1 / 0
    assert Profile.load(tmp_path).job.status == "Failed"
    assert len(session.profile.steps) == 1


def test_advice_is_tried_alternately_and_only_faster_changes_are_kept() -> None:
    order: list[tuple[int | None, str]] = []

    def run(changed: TrainingConfig) -> float:
        order.append((changed.workers, changed.precision))
        seconds = {0: 10.0, 2: 6.0, 4: 11.0}[changed.workers or 0]
        return seconds * (0.5 if changed.precision == "bf16" else 1.0) + 0.01 * len(order) % 0.05

    base = TrainingConfig(data="x", workers=0, precision="fp32")
    found = verify(base, [{"workers": 2}, {"workers": 4}, {"precision": "bf16"}], run)
    assert order[1:5] == [(0, "fp32"), (2, "fp32"), (4, "fp32"), (0, "bf16")]  # the first run warms up
    assert order[1:5] == order[5:9][::-1] == order[9:13]
    assert [trial.kept for trial in found.trials] == [True, False, True, True]
    assert found.speedup == found.trials[-1].speedup
    assert found.recommended == {"workers": 2, "precision": "bf16"}
    assert found.trials[-1].speedup == pytest.approx(10 / 3, rel=0.05)


def test_what_changes_learning_is_measured_but_not_recommended() -> None:
    found = verify(TrainingConfig(data="x"), [{"batch_size": 128}], lambda c: 100.0 / c.batch_size)
    assert found.recommended == {}
    assert "batch_size also affects what is learned" in found.trials[0].note
    assert found.trials[0].speedup == pytest.approx(4)


@pytest.mark.parametrize(
    ("later", "recommended", "reported"),
    [(10.0, {}, "not when measured again"), (9.0, {"workers": 2}, "(1.11x), n = 5, measured again")],
)
def test_the_best_of_several_is_measured_once_more_before_it_is_recommended(
    later: float, recommended: dict[str, int], reported: str
) -> None:
    runs = {0: 0, 2: 0, 4: 0}

    def run(changed: TrainingConfig) -> float:
        """Two workers are lucky in their first five runs."""
        workers = changed.workers or 0
        runs[workers] += 1
        return 10.0 if workers != 2 else 8.0 if runs[2] <= 5 else later

    found = verify(TrainingConfig(data="x", workers=0), [{"workers": 2}, {"workers": 4}], run)
    assert found.recommended == recommended
    assert reported in found.sentence
    assert found.trials[0].speedup == pytest.approx(1.25)


def test_a_drift_of_the_machine_cancels_out_of_pairs() -> None:
    drift = [1.0, 1.5, 2.0, 3.0, 5.0]
    trial = judge("a", {"workers": 2}, [10 * d for d in drift], [8 * d for d in drift])
    assert trial.kept
    assert trial.speedup == pytest.approx(1.25)


def test_a_change_that_cannot_run_is_said_so() -> None:
    def run(changed: TrainingConfig) -> float:
        if changed.workers == 64:
            raise ConfigError("no room for 64 workers")
        return 1.0

    found = verify(TrainingConfig(data="x"), [{"workers": 64}], run)
    assert found.trials[0].note == "could not be run: no room for 64 workers"
    assert found.recommended == {}


@pytest.mark.parametrize(
    ("most", "repeats", "recommended", "told"),
    [
        pytest.param(
            1,
            [0, 0],
            {},
            "No change is recommended: the time was over when 0 of 2 changes had been run 5 times.",
            id="after the warm-up",
        ),
        pytest.param(
            9,
            [3, 2],
            {},
            "No change is recommended: the time was over when 0 of 2 changes had been run 5 times.",
            id="in the rounds",
        ),
        pytest.param(
            16,
            [5, 5, 0],
            {},
            "workers = 2: 10.00 s -> 6.00 s (1.67x), n = 5: faster, but there was no time to measure it again. Keep "
            "the settings. The time was over when 2 of 2 changes had been run 5 times.",
            id="before it is confirmed",
        ),
        pytest.param(
            26,
            [5, 5, 5],
            {"workers": 2},
            "workers = 2: 10.00 s -> 6.00 s (1.67x), n = 5, measured again after selection.",
            id="at the end",
        ),
    ],
)
def test_no_run_starts_when_the_time_is_over_and_the_outcome_says_what_was_measured(
    most: int, repeats: list[int], recommended: dict[str, int], told: str
) -> None:
    runs: list[int] = []

    def run(changed: TrainingConfig) -> float:
        runs.append(changed.workers or 0)
        return {0: 10.0, 2: 6.0, 4: 10.0}[runs[-1]]

    changes = [{"workers": 2}, {"workers": 4}]
    base = TrainingConfig(data="x", workers=0)
    found = verify(base, changes, run, is_over=lambda: len(runs) >= most)
    assert len(runs) == most
    assert [trial.repeats for trial in found.trials] == repeats
    assert found.recommended == recommended
    assert found.sentence.endswith(told)
    assert [trial.kept for trial in found.trials if trial.repeats < 5] == [False] * sum(each < 5 for each in repeats)


def test_only_changes_that_apply_are_candidates() -> None:
    profile = Profile(
        job=JobInfo(name="run", start=0.0, end=1.0, cores={"local": 2}), loader=Loader(workers=0, batch_size=32)
    )
    changes = candidates(TrainingConfig(data="x"), profile, check(profile))
    assert {"workers": 2} in changes
    assert {"workers": 0} not in changes
    assert not any("pin_memory" in change or "precision" in change for change in changes)
    assert len(changes) == len({json.dumps(change) for change in changes})
    assert {"channels_last": False} in changes
    assert not any("compile_network" in change for change in changes)  # takes too long to be tried unasked
    asked = candidates(TrainingConfig(data="x"), profile, check(profile), [{"compile_network": True}])
    assert asked[-1] == {"compile_network": True}
    on_gpu = profile.model_copy(
        update={
            "job": profile.job.model_copy(update={"device": "cuda:0"}),
            "loader": Loader(workers=2, batch_size=32, pin_memory=False),
        }
    )
    assert {"pin_memory": True} in candidates(TrainingConfig(data="x", pin_memory=False), on_gpu, check(on_gpu))


@pytest.mark.slow
@pytest.mark.alone  # it compares durations
def test_a_real_run_is_verified_and_its_claim_holds(pictures: Path, tmp_path: Path) -> None:
    base = config(pictures, tmp_path, feature_cache=False, epochs=4)
    run = timed_fit(base, most_images=4)
    run(base)
    found = verify(base, [{"feature_cache": True}], run, repeats=3)
    assert found.recommended == {"feature_cache": True}
    assert found.trials[0].speedup > 1.2
    assert list(tmp_path.iterdir()) == []

    def seconds(settings: TrainingConfig) -> float:
        started = time.perf_counter()
        Trainer(settings.replace(output=tmp_path / f"out-{time.monotonic_ns()}")).fit()
        return time.perf_counter() - started

    assert min(seconds(base) for _ in range(2)) > min(seconds(base.replace(feature_cache=True)) for _ in range(2))


def test_a_job_is_profiled_and_found_again_by_name(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(home=tmp_path / "home")
    settings = TrainingConfig(
        data=pictures, architecture="resnet18", weights="none", epochs=1, batch_size=4, chunk_size=4, workers=0
    )
    session = ProfilingSession(settings, backend=backend).run()
    name = session.profile.job.name
    assert session.profile.operators
    again = ProfilingSession.attach(Job.attach(name, backend=backend))
    assert [found.status for found in again.findings] == [found.status for found in session.findings]
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    assert (
        main(["profile", name, "--backend", "local", "--output", str(tmp_path / "out"), "--rules", "StepOutlier"]) == 0
    )
    assert "StepOutlier" in capsys.readouterr().out
