"""A run saved by smdebug and looked at by us: the same findings, from files of its own and from its own hook's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from breedclf import ProfilingSession, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.errors import ConfigError, ProfileError
from breedclf.profiling.debugger.hook import DebuggerCollection, DebuggerHook
from breedclf.profiling.debugger.requirements import load_smdebug
from breedclf.profiling.debugger.trial import read_trial
from breedclf.profiling.profile import Profile
from breedclf.profiling.recorder import Recorder, Recording
from breedclf.profiling.rules import ALL_RULES, Finding, check
from breedclf.runtime.timers import all_of
from breedclf.testing.images import write_image_set

EVERYTHING = get_args(DebuggerCollection)
TENSOR_RULES = [rule.name for rule in ALL_RULES.values() if rule.group == "tensors"] + ["LossNotDecreasing"]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid(),
        nn.Linear(8, 2)
    )  # fmt: skip


def train(
    folder: Path, *, model: nn.Module, rate: float = 0.1, steps: int = 30, every: int = 2, scale: float = 1.0
) -> tuple[Profile, Profile]:
    """One run, looked at by our recorder and by smdebug at once."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    recorder = Recorder(keep=False, recording=Recording(tensors=True))
    assert recorder.steps.tensors is not None
    recorder.steps.tensors.every = every
    draw = torch.Generator().manual_seed(1)
    with recorder, DebuggerHook(folder, collections=EVERYTHING, every=every) as debugger:
        timer = all_of([recorder.steps, debugger.timer])
        timer.watch(model, optimizer)
        for epoch in (1, 2):
            timer.phase("train", epoch)
            losses = []
            for _ in range(steps // 2):
                targets = torch.randint(0, 2, (16,), generator=draw)
                pictures = torch.randn(16, 3, 8, 8, generator=draw) * scale + targets[:, None, None, None]
                timer.lap("data_wait")
                loss = nn.functional.cross_entropy(model(pictures), targets)
                timer.loss(loss)
                timer.lap("forward")
                optimizer.zero_grad()
                loss.backward()
                timer.lap("backward")
                optimizer.step()
                timer.lap("optimizer")
                losses.append(loss.item())
                timer.step(16)
            timer.losses(losses)
            timer.phase("valid", epoch)
            with torch.no_grad():
                model(pictures)
            timer.step(16)
    return recorder.profile(), read_trial(folder)


def found(profile: Profile) -> dict[str, Finding]:
    return {finding.rule: finding for finding in check(profile, TENSOR_RULES)[:-1]}


def dead(model: nn.Sequential) -> None:
    nn.init.constant_(model[0].bias, -100.0)


def saturated(model: nn.Sequential) -> None:
    nn.init.constant_(model[3].bias, 100.0)


def frozen_by_mistake(model: nn.Sequential) -> None:
    model[0].register_forward_hook(lambda _module, _inputs, output: output.detach())


def zeros(model: nn.Sequential) -> None:
    for layer in (model[5], model[7]):
        nn.init.zeros_(layer.weight)
    nn.init.zeros_(model[3].weight)


def uneven(model: nn.Sequential) -> None:
    nn.init.normal_(model[5].weight, std=50.0)


RUNS: dict[str, tuple[Callable[[nn.Sequential], None], dict[str, Any], set[str]]] = {
    "healthy": (lambda _: None, {}, set()),
    "dead ReLU": (dead, {}, {"DeadRelu"}),
    "saturated tanh": (saturated, {}, {"SaturatedActivation", "VanishingGradient"}),
    "images beyond floats": (lambda _: None, {"scale": 1e38}, {"ExplodingTensor"}),
    "rate of nothing": (lambda _: None, {"rate": 1e-12}, {"UnchangedTensor"}),
    "layer cut off": (frozen_by_mistake, {}, {"UnchangedTensor"}),
    "all-zero layers": (zeros, {"rate": 0.0}, {"AllZero", "UnchangedTensor"}),
    "uneven weights": (uneven, {}, {"PoorWeightInitialization"}),
    "images not normalized": (lambda _: None, {"scale": 60.0}, {"CheckInputImages"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_same_run_gives_the_same_findings_by_smdebug_and_on_the_device(name: str, tmp_path: Path) -> None:
    plant, settings, expected = RUNS[name]
    model = network()
    plant(model)
    ours, theirs = (found(profile) for profile in train(tmp_path / "trial", model=model, **settings))
    assert {rule: finding.status for rule, finding in theirs.items()} == {
        rule: finding.status for rule, finding in ours.items()
    }
    issues = {rule for rule, finding in theirs.items() if finding.status == "issue"}
    assert issues >= expected if expected else not issues
    for rule in issues:
        named = [set(some[rule].details.get("tensors", ())) for some in (ours, theirs)]
        assert named[0] == named[1], rule


def test_the_numbers_are_the_same_too(tmp_path: Path) -> None:
    ours, theirs = train(tmp_path / "trial", model=network())
    by_name = {(t.kind, t.name): t for t in theirs.tensors}
    assert set(by_name) == {(t.kind, t.name) for t in ours.tensors}
    for tensor in ours.tensors:
        other = by_name[tensor.kind, tensor.name]
        assert other.step.tolist() == tensor.step.tolist(), tensor.name
        # smdebug keeps weights as they are before the step, we after it; everything else is the same moment
        exact = set(tensor.measures) - ({"mean_abs", "change"} if tensor.kind == "weight" else set())
        for measure in exact:
            known = np.isfinite(other.measures[measure])
            np.testing.assert_allclose(
                other.measures[measure][known], tensor.measures[measure][known], rtol=1e-4, atol=1e-9
            )
    np.testing.assert_allclose(theirs.learning.step_loss, ours.learning.step_loss, rtol=1e-6)
    assert theirs.job.status == "Completed"
    assert (theirs.job.source, theirs.job.name) == ("smdebug", "trial")


def test_a_trainers_run_is_saved_and_judged_alike(tmp_path: Path) -> None:
    data = write_image_set(tmp_path / "pictures", train=24, valid=4, test=0)
    config = TrainingConfig(
        data=data, architecture="resnet18", weights="none", epochs=3, batch_size=4, workers=0, profile="full",
        output=tmp_path / "out", cache_dir=tmp_path / "cache",
    )  # fmt: skip
    hook = DebuggerHook(tmp_path / "trial")
    with_it = Trainer(config).fit(hooks=[hook])
    ours, theirs = found(Profile.load(config.output / "profile")), found(read_trial(tmp_path / "trial"))
    # The frozen backbone runs before the training, where smdebug's hook doesn't look.
    looked_at = {rule for rule, finding in theirs.items() if finding.status in ("ok", "issue")}
    assert looked_at >= {"VanishingGradient", "ExplodingTensor", "WeightUpdateRatio", "UnchangedTensor", "AllZero"}
    assert {rule: theirs[rule].status for rule in looked_at} == {rule: ours[rule].status for rule in looked_at}
    plain = Trainer(config.replace(output=tmp_path / "plain", profile="off")).fit()
    assert [epoch.train_loss for epoch in with_it.history] == [epoch.train_loss for epoch in plain.history]


def test_smdebugs_own_hook_is_read_without_ours(tmp_path: Path) -> None:
    smd = load_smdebug("smdebug.pytorch")
    model = network()
    hook = smd.Hook(out_dir=str(tmp_path / "own"), save_config=smd.SaveConfig(save_interval=5), save_all=True)
    hook.register_module(model)
    criterion = nn.CrossEntropyLoss()
    hook.register_loss(criterion)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hook.set_mode(smd.modes.TRAIN)
    with pytest.warns(DeprecationWarning, match="tostring"):
        for _ in range(26):
            optimizer.zero_grad()
            criterion(model(torch.randn(8, 3, 8, 8)), torch.randint(0, 2, (8,))).backward()
            optimizer.step()
        hook.close()
    profile = read_trial(tmp_path / "own")
    statuses = {rule: finding.status for rule, finding in found(profile).items()}
    assert statuses["VanishingGradient"] == statuses["ExplodingTensor"] == "ok"
    assert statuses["WeightUpdateRatio"] == "no_data"  # smdebug alone doesn't save how far weights moved
    assert profile.learning.step.tolist() == [0, 5, 10, 15, 20, 25]


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    model = network()
    train(tmp_path / "trial", model=model, steps=4)
    for layer in model.modules():
        assert not layer._forward_hooks and not layer._forward_pre_hooks and not hasattr(layer, "_module_name")
    files = sorted((tmp_path / "trial").rglob("*"))
    model(torch.zeros(1, 3, 8, 8)).sum().backward()
    assert sorted((tmp_path / "trial").rglob("*")) == files


def test_reductions_take_little_room(tmp_path: Path) -> None:
    model = nn.Linear(2048, 133)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with DebuggerHook(tmp_path / "trial", every=10) as hook:
        hook.timer.watch(model, optimizer)
        hook.timer.phase("train", 1)
        for _ in range(20):
            loss = model(torch.randn(4, 2048)).square().mean()
            hook.timer.loss(loss)
            loss.backward()
            hook.timer.lap("backward")
            optimizer.step()
            hook.timer.lap("optimizer")
            hook.timer.step(4)
    saved = sum(file.stat().st_size for file in (tmp_path / "trial").rglob("*") if file.is_file())
    assert saved < 100_000  # one gradient, saved whole, is 1.1 MB


def test_a_loss_in_bf16_is_saved(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    with DebuggerHook(tmp_path / "trial", collections=["losses"]) as hook:
        hook.timer.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
        hook.timer.phase("train", 1)
        hook.timer.loss(model(torch.ones(1, 4)).sum().bfloat16())
    profile = read_trial(tmp_path / "trial")
    assert len(profile.learning.step_loss) == 1
    assert profile.tensors == ()


def test_a_killed_run_leaves_a_readable_trial(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal, torch
        from breedclf.profiling.debugger.hook import DebuggerHook
        model = torch.nn.Linear(4, 2)
        hook = DebuggerHook({str(tmp_path / "trial")!r}, every=1)
        hook.timer.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
        hook.timer.phase("train", 1)
        for _ in range(5):
            loss = model(torch.ones(1, 4)).sum()
            hook.timer.loss(loss)
            loss.backward()
            hook.timer.step(1)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", script], timeout=120, check=False).returncode == -9
    profile = read_trial(tmp_path / "trial")
    assert profile.job.status == "Incomplete"
    assert len(profile.learning.step_loss) >= 4


def test_a_trial_is_reported_from_the_command_line_and_in_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network()
    dead(model)
    train(tmp_path / "trial", model=model)
    capsys.readouterr()
    assert main(["profile", str(tmp_path / "trial"), "--output", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)  # and nothing of smdebug's own chatter
    assert {f["rule"]: f["status"] for f in document["findings"]}["DeadRelu"] == "issue"
    session = ProfilingSession.attach(tmp_path / "trial")
    assert "DeadRelu" in session.report(tmp_path / "report.html").read_text()


def test_what_is_no_trial_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="holds no smdebug trial"):
        read_trial(tmp_path)
    train(tmp_path / "trial", model=network(), steps=4)
    for file in (tmp_path / "trial").rglob("*_collections.json"):
        file.write_text(file.read_text()[:40])
    with pytest.raises(ProfileError, match="is damaged"):
        read_trial(tmp_path / "trial")


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown collection 'gradient': did you mean 'gradients'"):
        DebuggerHook(tmp_path / "trial", collections=["gradient"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="every=0"):
        DebuggerHook(tmp_path / "trial", every=0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="is not empty"):
        DebuggerHook(tmp_path)


def test_what_the_page_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image_set(tmp_path / "dogImages", train=6, valid=2, test=0)
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs/how-to/profiling-debugger.md"
    (shown,) = re.findall(r"^```\{code-block\} python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    exec(compile(shown, str(page), "exec"), {})
    assert "ProfilerReport ok 2 rules" in capsys.readouterr().out
