"""Checkpoints on disk: what was written is read, and nothing that was changed since."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.head import ScaledLinear
from breedclf.models.tail import Tail
from breedclf.runtime.device import compute_for
from breedclf.training.checkpoints.checkpoint import Checkpoint, CheckpointFolder

Change = Callable[[dict[str, torch.Tensor], dict[str, str]], object]


def checkpoint(epochs: int) -> Checkpoint:
    tensors = {"module/weight": torch.arange(6.0).view(2, 3) + epochs, "order": torch.arange(4)}
    return Checkpoint(epochs, 0, tensors, {"history": [], "config": {"epochs": 3}})


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    folder = CheckpointFolder(tmp_path)
    assert folder.save(checkpoint(1))
    assert folder.save(checkpoint(2))
    return folder


def rewritten(path: Path, change: Change) -> None:
    """The same file with other tensors or words, and the checksum that it had."""
    with safe_open(path, framework="pt") as file:
        about, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, about)
    save_file(tensors, path, metadata=about)


def test_the_newest_is_read_back(folder: CheckpointFolder) -> None:
    found = folder.load()
    assert found is not None
    assert (found.epochs, found.step, found.about["config"]) == (2, 0, {"epochs": 3})
    assert torch.equal(found.part("module")["weight"], torch.arange(6.0).view(2, 3) + 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, _: tensors.update({"module/weight": tensors["module/weight"].view(3, 2)}),
        lambda tensors, _: tensors.update({"module/weight": tensors["module/weight"].view(torch.int32)}),
        lambda tensors, _: tensors.update({"order": tensors["order"].view(torch.float64)}),
        lambda tensors, _: tensors.update({"module/other": tensors.pop("module/weight")}),
        lambda _, about: about.update(about=about["about"].replace('"epochs": 3', '"epochs": 4')),
        lambda _, about: about.update(about=about["about"].replace('"format": "2"', '"format": "1"')),
        lambda _, about: about.update(about="[" * 100_000),
        lambda _, about: about.update(about="[1]"),
    ],
)
def test_what_was_changed_is_passed_over(
    folder: CheckpointFolder, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    newest, before = folder.files()
    rewritten(newest, lambda *_: None)
    assert getattr(folder.load(), "epochs", None) == 2
    rewritten(newest, change)
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        found = folder.load()
    assert found is not None
    assert found.epochs == 1
    assert f"{newest.name} is damaged" in caplog.text
    assert f"using the previous one, {before.name}" in caplog.text


def test_an_older_one_under_a_newer_name_is_passed_over(
    folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    newest, before = folder.files()
    shutil.copyfile(before, newest)
    found = folder.load()
    assert found is not None
    assert found.epochs == 1
    assert f"{newest.name} is damaged: it is a copy of {before.name}" in caplog.text


def test_one_of_the_first_format_is_still_read(tmp_path: Path) -> None:
    """As versions before wrote it: the checksum is over the names and the values."""
    made = checkpoint(3)
    text = json.dumps({"format": "1", "epochs": 3, "step": 0, "about": dict(made.about)})
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(made.tensors.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    metadata = {"about": text, "checksum": digest.hexdigest()}
    save_file(dict(made.tensors), tmp_path / made.file_name, metadata=metadata)
    found = CheckpointFolder(tmp_path).load()
    assert found is not None
    assert found.epochs == 3
    assert torch.equal(found.part("module")["weight"], made.tensors["module/weight"])


@pytest.mark.parametrize("freeze", ["layer4", "none"])
def test_checkpoints_of_versions_that_only_had_resnets(freeze: str) -> None:
    backbone = find_backbone("resnet18")
    network = backbone.new_network(seed=0, classes=2)
    head = ScaledLinear(512, 2)
    state, compute = backbone.without_head(network.state_dict()), compute_for("cpu", "fp32")
    module = Tail.of(backbone, state, freeze, head, fixed_statistics=True, compute=compute)
    trained = [name for name in state if freeze == "none" or name.startswith("layer4.")]
    before = {name: state[name] + 1 for name in trained} | {f"fc.{n}": t + 1 for n, t in head.state_dict().items()}
    parts = ("module", "best", "average")
    checkpoint = Checkpoint(1, 0, {f"{part}/{name}": tensor for part in parts for name, tensor in before.items()}, {})
    for part in parts:
        module.load_state_dict(checkpoint.part(part))
        assert torch.equal(module.body.get_parameter("layer4.1.conv2.weight"), state["layer4.1.conv2.weight"] + 1)
        assert torch.equal(module.head.deviation, before["fc.deviation"])
