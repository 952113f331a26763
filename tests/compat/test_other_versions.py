"""Keys of later versions are ignored with one warning that names them; a later format is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from breedclf import BreedclfError, ConfigError, Job, LocalBackend, Profile, TrainingConfig, TuningJob
from breedclf.inference.model_directory import read_card
from breedclf.training.checkpoints.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.checkpoints.resume import find_checkpoint

FILES = {
    "model": "run/model/breedclf.json",
    "profile": "run/profile/profile.json",
    "job": "home/jobs/job/job.json",
    "search": "home/tuning/search/study.json",
}
VERSION = {"model": "schema_version", "profile": "schema_version", "job": "version", "search": "schema_version"}
READ: dict[str, Callable[[Path], object]] = {
    "model": lambda root: read_card(root / "run/model"),
    "profile": lambda root: Profile.load(root / "run/profile").to_json(),
    "job": lambda root: Job.attach("job", backend=LocalBackend(root / "home")).status,
    "search": lambda root: TuningJob.look("search", home=root / "home"),
}
ADDED = {
    "model": {"added": 1, "preprocessing": {"added": 2}},
    "profile": {"added": 1, "job": {"added": 2}},
    "job": {"added": 1, "description": {"added": 2}, "spec": {"added": 3}},
    "search": {"added": 1, "request": {"added": 2, "space": {"learning_rate": {"added": 3}}, "config": {"added": 4}}},
}
NAMES = {
    "model": ["added, preprocessing.added"],
    "profile": ["added, job.added"],
    "job": ["added, description.added, spec.added"],
    "search": ["the saved search has keys", "added, request.added, request.space.learning_rate.added"],
}


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy of the small files, which a test may edit."""
    for name in FILES.values():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(written / name, tmp_path / name)
    return tmp_path


def merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The values with changes at any depth."""
    for key, change in changes.items():
        values[key] = merge(values[key], change) if isinstance(change, dict) else change
    return values


def edit(file: Path, changes: dict[str, Any]) -> None:
    file.write_text(json.dumps(merge(json.loads(file.read_text(encoding="utf-8")), changes)), encoding="utf-8")


@pytest.mark.parametrize("kind", FILES)
def test_unknown_keys_are_ignored_with_one_warning(kind: str, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = READ[kind](root)
    assert caplog.messages == [], "files of a released version have no unknown keys"
    edit(root / FILES[kind], ADDED[kind])
    assert [READ[kind](root), READ[kind](root)] == [before, before]
    assert len(caplog.messages) == len(NAMES[kind])
    for name in NAMES[kind]:
        assert name in caplog.text
    assert str(root / FILES[kind]) in caplog.text


@pytest.mark.parametrize("kind", FILES)
def test_a_later_format_is_refused(kind: str, root: Path) -> None:
    edit(root / FILES[kind], {VERSION[kind]: 99})
    with pytest.raises(BreedclfError, match=r"99.*upgrade"):
        READ[kind](root)


@pytest.mark.parametrize("version", [0, -1, "1", True, None, 1.5], ids=str)
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_version_is_refused(kind: str, version: object, root: Path) -> None:
    edit(root / FILES[kind], {VERSION[kind]: version})
    with pytest.raises(BreedclfError, match="version"):
        READ[kind](root)


def test_saved_settings_may_have_settings_of_later_versions(
    written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = TrainingConfig(data="dogImages", epochs=7)
    saved = {**now.to_dict(), "sharpness": 0.5}
    (tmp_path / "config.json").write_text(json.dumps(saved), encoding="utf-8")
    assert TrainingConfig.from_file(tmp_path / "config.json") == now
    assert caplog.messages == [
        f"{tmp_path / 'config.json'} has keys that this version of breedclf doesn't know, and ignores: sharpness"
    ]
    (tmp_path / "mine.json").write_text(json.dumps({"data": "dogImages", "sharpness": 0.5}), encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown setting 'sharpness'"):
        TrainingConfig.from_file(tmp_path / "mine.json")
    assert TrainingConfig.from_file(written / "run" / "config.json").epochs == 2


def test_a_checkpoint_may_have_settings_of_later_versions_but_no_later_format(
    written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrainingConfig.from_file(written / "run" / "config.json", resume=True)
    newest = CheckpointFolder(written / "run" / "checkpoints").load()
    assert newest is not None
    about = merge(json.loads(json.dumps(newest.about)), {"config": {"sharpness": 0.5}})
    folder = CheckpointFolder(tmp_path)
    assert folder.save(Checkpoint(newest.epochs, newest.step, newest.tensors, about))
    found = find_checkpoint(config, folder)
    assert found is not None
    assert found.epochs == 2
    assert [message for message in caplog.messages if message.endswith("and ignores: sharpness")] != []
    file = folder.files()[0]
    text = json.dumps({"format": "3", "epochs": 2, "step": 0, "about": about})
    save_file(load_file(file), file, metadata={"about": text, "checksum": "other"})
    with pytest.raises(ConfigError, match=r"written by a newer breedclf \(format 3; this one reads up to 2\): upgrade"):
        find_checkpoint(config, folder)
