"""OpenVINO for the frozen backbone: torch's features up to rounding, int8 only if it costs no accuracy."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Trainer, TrainingConfig
from breedclf.backends.common.bundle import settings_requirements
from breedclf.data.split import ImageFiles, Split
from breedclf.data.training_data import load_data
from breedclf.errors import ConfigError, DataError, WeightsError
from breedclf.features.openvino import engine_name, sample_of
from breedclf.models.state_file import read_state
from tests.conftest import PROJECT_ROOT
from tests.integration.conftest import RESNET

WITH_OPENVINO = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None or importlib.util.find_spec("nncf") is None,
    reason="the extra openvino isn't installed",
)


def config(data: Path, output: Path, **settings: object) -> TrainingConfig:
    return TrainingConfig(data=data, output=output, **{**RESNET, **settings})


def head_of(config: TrainingConfig) -> torch.Tensor:
    return load_file(Trainer(config).fit().artifact / "model.safetensors")["fc.weight"]


@WITH_OPENVINO
@pytest.mark.slow
def test_the_head_is_torchs_but_for_rounding(patterns: Path, tmp_path: Path) -> None:
    by_torch = head_of(config(patterns, tmp_path / "torch", precision="fp32", epochs=1))
    by_openvino = head_of(config(patterns, tmp_path / "openvino", precision="fp32", epochs=1, engine="openvino"))
    torch.testing.assert_close(by_openvino, by_torch, rtol=1e-3, atol=1e-4)
    assert not torch.equal(by_openvino, by_torch), "the cache gave torch's features"


@WITH_OPENVINO
@pytest.mark.slow
def test_int8_trains_when_it_costs_little_and_prints_nothing_among_the_answers(patterns: Path, tmp_path: Path) -> None:
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in RESNET.items() if not isinstance(value, bool)]
    command = ["train", str(patterns), *settings, "--engine=openvino", "--precision=int8", "--max-accuracy-drop=0.9"]
    done = subprocess.run(
        [sys.executable, "-m", "breedclf", *command, f"--output={tmp_path}", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["history"]
    assert "int8: nearest class means classify" in done.stderr


@WITH_OPENVINO
@pytest.mark.slow
def test_int8_is_refused_where_its_cost_can_t_be_told(patterns: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few to measure a drop of 1.0%"):
        Trainer(config(patterns, tmp_path, engine="openvino", precision="int8")).fit()


@WITH_OPENVINO
def test_weights_that_are_no_numbers_are_not_hidden(patterns: Path, tmp_path: Path) -> None:
    plain = Trainer(config(patterns, tmp_path / "plain", epochs=1)).fit()
    state = read_state(plain.artifact / "model.safetensors")
    state["layer1.0.conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(WeightsError, match="NaN or infinite values in layer1.0.conv1.weight"):
        Trainer(config(patterns, tmp_path / "out", weights=str(tmp_path / "broken.pth"), engine="openvino")).fit()


@WITH_OPENVINO
def test_int8_features_belong_to_what_it_was_tried_on(patterns: Path) -> None:
    config = TrainingConfig(data=patterns, engine="openvino")
    data = load_data(config)
    assert engine_name(config, data, "fp32") != engine_name(config, data, "int8") == engine_name(config, data, "int8")
    stricter = config.replace(max_accuracy_drop=0.001)
    assert engine_name(stricter, data, "int8") != engine_name(config, data, "int8")
    for name in ("train", "valid"):
        split = getattr(data, name)
        other = replace(data, **{name: split.chosen(range(1, len(split)))})
        assert engine_name(config, other, "int8") != engine_name(config, data, "int8")
        assert engine_name(config, other, "fp32") == engine_name(config, data, "fp32")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"precision": "int8"}, "precision=int8 needs engine=openvino"),
        ({"engine": "openvino", "freeze": "layer4"}, "features for freeze=head, not for freeze=layer4"),
        ({"engine": "openvino", "device": "cuda"}, "on the CPU, not on device=cuda"),
        ({"engine": "openvino", "compile_network": True}, "turn compile_network off"),
        ({"engine": "onnx"}, "engine='onnx'"),
        ({"max_accuracy_drop": 0}, "max_accuracy_drop=0"),
    ],
)
def test_what_doesn_t_go_together_is_said(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrainingConfig(data="x", **settings)


def test_without_the_extra_it_is_said_how_to_get_it(
    patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "breedclf.runtime.extras.find_spec", lambda name: None if name == "openvino" else importlib.util.find_spec(name)
    )
    asked = config(patterns, tmp_path, engine="openvino")
    with pytest.raises(Exception, match="engine=openvino needs openvino, .*pip install 'breedclf\\[openvino\\]'"):
        Trainer(asked).fit()


@WITH_OPENVINO
def test_the_nearest_mean_is_judged_on_what_it_has_not_seen() -> None:
    from breedclf.features.openvino_maker import nearest_mean_accuracy

    features = torch.tensor([[0.0, 1.0], [0.2, 1.0], [1.0, 0.0], [1.0, 0.2]])
    targets = torch.tensor([0, 0, 1, 1])
    others = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.1, 0.8], [0.2, 0.9]])
    assert nearest_mean_accuracy(features, targets, others, torch.tensor([0, 1, 0, 1])) == 0.75


def test_a_sample_is_drawn_from_all_classes() -> None:
    split = Split(
        "train", ImageFiles([Path(str(number)) for number in range(1_000)]), tuple(n // 10 for n in range(1_000))
    )
    sample = sample_of(split)
    assert len(sample) == 250
    assert set(sample.targets) == set(range(100))


def test_a_job_elsewhere_installs_it() -> None:
    extra = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["openvino"]
    pairs = TrainingConfig(data="x", engine="openvino").to_hyperparameters()
    assert settings_requirements(pairs) == extra
    assert not settings_requirements(TrainingConfig(data="x").to_hyperparameters())
