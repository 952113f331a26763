"""Two processes that torchrun starts together train the model that one would, and the first alone writes and tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breedclf import TrainingConfig
from breedclf.training.distributed import started_by_torchrun
from breedclf.training.fit import fit
from tests.integration.conftest import RESNET, write_patterns

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's processes need POSIX")

SETTINGS: dict[str, Any] = {
    **RESNET,
    "precision": "fp32",
    "device": "cpu",
    "epochs": 2,
    "batch_size": 6,  # 13 pictures: the last batch has one, which leaves the second process without any
    "batch_norm": "fixed",
    "profile": "off",
}
OWN_CODE = Path(__file__).resolve().parents[1] / "own_code.py"
OWN = {"loss": "Focal", "sampler": "balanced", "metrics": "accuracy"}
POLICIES: dict[str, dict[str, Any]] = {
    "head": {"views": 2, "class_weights": "balanced", "label_smoothing": 0.1},
    "layer4": {"freeze": "layer4", "ema": 0.5, "clip_norm": 1.0},
    "own": {name: f"{OWN_CODE}:{code}" for name, code in OWN.items()},
    "parts": {"freeze": "layer4", "augment": "none", "gradient_accumulation_steps": 3},
}

PROGRAM = """
import json, logging, sys
from pathlib import Path
from breedclf import TrainingConfig
from breedclf.training.fit import fit
from breedclf.training.hooks import TrainingHook

def tell(line):  # in one piece: torchrun's processes share one unbuffered stdout
    sys.stdout.write(line + "\\n")

class Tell(TrainingHook):
    def on_epoch(self, epoch):
        tell(f"epoch {epoch.epoch}")

for name, settings in json.loads(Path(sys.argv[1]).read_text()).items():
    result = fit(TrainingConfig(**settings), hooks=[Tell()])
    tell(f"ended {name} {len(result.history)} {result.artifact.is_dir()}")
"""


def torchrun(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_patterns(tmp_path_factory.mktemp("processes") / "pictures", counts={"train": 6, "valid": 3, "test": 1})
    extra = next((root / "train/001.Lying").iterdir())
    (root / "train/001.Lying/extra.png").write_bytes(extra.read_bytes() + b"\0")
    return root


@pytest.mark.slow
def test_two_processes_train_what_one_does_with_the_whole_batch(pictures: Path, tmp_path: Path) -> None:
    configs = {
        name: TrainingConfig(data=pictures, output=tmp_path / "two" / name, **SETTINGS, **settings)
        for name, settings in POLICIES.items()
    }
    file, program = tmp_path / "configs.json", tmp_path / "program.py"
    file.write_text(json.dumps({name: config.to_dict() for name, config in configs.items()}))
    program.write_text(PROGRAM)
    done = torchrun([str(program), str(file)], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch 1") == len(POLICIES), "hooks are told by the first process alone"
    ended = [done.stdout.count(f"ended {name} 2 True") for name in POLICIES]
    assert ended == [2] * len(POLICIES), done.stdout
    for name, config in configs.items():
        alone = fit(config.replace(output=tmp_path / "one" / name))
        lines = (config.output / "history.jsonl").read_text().splitlines()
        for record, line in zip(alone.history, map(json.loads, lines), strict=True):
            assert line["train_loss"] == pytest.approx(record.train_loss, rel=1e-4), name
            assert line["valid_loss"] == pytest.approx(record.valid_loss, rel=1e-4), name
            assert line["valid_accuracy"] == record.valid_accuracy, name
        one = load_file(alone.artifact / "model.safetensors")
        two = load_file(config.output / "model" / "model.safetensors")
        for key in one:
            assert torch.allclose(one[key].float(), two[key].float(), rtol=1e-3, atol=1e-5), (name, key)
        assert len(list((config.output / "checkpoints").glob("epoch-*"))) == 2


@pytest.mark.slow
def test_a_job_under_torchrun_reports_once_and_hands_over_one_model(pictures: Path, tmp_path: Path) -> None:
    pairs = {k: v for k, v in SETTINGS.items() if k != "profile"}
    environment = {
        "SM_HPS": json.dumps(pairs),
        "SM_CHANNEL_TRAINING": str(pictures),
        "SM_MODEL_DIR": str(tmp_path / "ml/model"),
        "SM_OUTPUT_DIR": str(tmp_path / "ml/output"),
        "SM_OUTPUT_DATA_DIR": str(tmp_path / "ml/output/data"),
        "SM_CHECKPOINT_DIR": str(tmp_path / "ml/checkpoints"),
    }
    done = torchrun(["-m", "breedclf.run", "--epochs", "2"], tmp_path, **environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("breedclf-metrics ")]
    assert [json.loads(line.split(" ", 1)[1]).get("epoch") for line in lines] == [1, 2, None]
    assert (tmp_path / "ml/model/model.safetensors").is_file()
    assert (tmp_path / "ml/output/data/history.jsonl").is_file()
    assert len(list((tmp_path / "ml/checkpoints/training").iterdir())) == 2


def test_torchrun_is_told_from_the_toolkit_s_plain_mode() -> None:
    assert started_by_torchrun({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"})
    assert not started_by_torchrun({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1"})
    assert not started_by_torchrun({"MASTER_ADDR": "localhost", "MASTER_PORT": "7777", "WORLD_SIZE": "2"})


STOPPING = """
import os, sys
from breedclf import Trainer, TrainingConfig
from breedclf.training.hooks import TrainingHook
from tests.integration.test_processes import SETTINGS

trainer = Trainer(TrainingConfig(data=sys.argv[1], output="out", **{**SETTINGS, "epochs": 6}))

class Watches(TrainingHook):
    def on_valid(self, epoch, predictions):
        agrees = predictions.is_correct.double().mean().item() == epoch.valid_accuracy
        sys.stdout.write(f"epoch {epoch.epoch}: {len(predictions)} predictions, {agrees}\\n")

    def on_step(self, step):
        if step.epoch == 2:
            trainer.request_stop()

result = trainer.fit(hooks=[Watches()])
sys.stdout.write(f"process {os.environ['RANK']}: {len(result.history)} epochs, {result.stopped}\\n")
"""


@pytest.mark.slow
def test_all_processes_stop_if_one_is_asked_and_the_first_has_all_predictions(pictures: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(STOPPING)
    root = Path(__file__).resolve().parents[2]
    done = torchrun([str(program), str(pictures)], tmp_path, PYTHONPATH=str(root))
    assert done.returncode == 0, done.stderr[-3000:]
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith(("epoch", "process")))
    assert lines == [
        "epoch 1: 6 predictions, True",
        "epoch 2: 6 predictions, True",
        "process 0: 2 epochs, True",
        "process 1: 2 epochs, True",
    ]
