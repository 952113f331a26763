"""A license that binds, from the command line to the model: refused, accepted in a job, recorded, and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save

from breedclf import LocalBackend, Trainer, TrainingConfig
from breedclf.cli import main
from breedclf.inference.model_directory import read_card
from breedclf.models.backbones.backbone import find_backbone
from tests.hub_server import Hub, running_hub
from tests.integration.conftest import write_patterns

pytest.importorskip("timm")

NETWORK = "timm:convnextv2_atto"
REPOSITORY = "timm/convnextv2_atto.fcmae_ft_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)  # jobs inherit it
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
        monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
        server.put(REPOSITORY, "model.safetensors", save(find_backbone(NETWORK).new_network(seed=1).state_dict()))
        yield server


@pytest.mark.slow
def test_a_job_uses_accepted_weights_and_its_model_says_so(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_patterns(tmp_path / "images", counts={"train": 3, "valid": 2, "test": 2})
    assert main(["train", str(data), "--architecture", NETWORK, "--output", str(tmp_path / "refused")]) == 3
    message = capsys.readouterr().err
    assert "CC-BY-NC-4.0, which binds" in message
    assert "--accept-license" in message
    assert not (tmp_path / "refused" / "model").exists()
    assert hub.requests == []

    config = TrainingConfig(data=data, architecture=NETWORK, accept_license=True, epochs=1, output=tmp_path / "out")
    result = Trainer(config, backend=LocalBackend()).fit()
    assert "GET model.safetensors" in hub.requests
    record = read_card(result.artifact).backbone
    assert record is not None
    assert (record.library, record.weights, record.license) == ("timm", "pretrained", "CC-BY-NC-4.0")
    assert record.source == f"https://huggingface.co/{REPOSITORY}"

    report = tmp_path / "evaluation"
    assert main(["evaluate", str(result.artifact), str(data), "--output", str(report), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 4
    page = next(report.glob("*.html")).read_text(encoding="utf-8")
    assert f"CC-BY-NC-4.0, from https://huggingface.co/{REPOSITORY}" in page

    continued = Trainer(TrainingConfig(data=data, start_from=result.artifact, epochs=1, output=tmp_path / "next")).fit()
    assert read_card(continued.artifact).backbone == record  # no license is asked for again
