"""Training with a feature store on a disk that is full, read-only, or gone in the middle: same bits, one warning."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf import FeatureProgress, Trainer, TrainingConfig, TrainingHook
from breedclf.features.store.store import FOLDER
from breedclf.features.stored_pass import FeatureCounts
from tests.integration.conftest import QUICK


def fit(data: Path, output: Path, cache: Path, *hooks: TrainingHook) -> tuple[str, FeatureCounts | None]:
    """The hash of the model, and the images that passed through the backbone."""
    config = TrainingConfig(data=data, output=output, cache_dir=cache, epochs=1, device="cpu", **QUICK)
    result = Trainer(config).fit(hooks=hooks)
    return hashlib.sha256((result.artifact / "model.safetensors").read_bytes()).hexdigest(), result.features


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are stored after each chunk."""
    monkeypatch.setattr("breedclf.features.stored_pass.IMAGES_PER_WRITE", 8)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings about the store so far."""
    caplog.set_level(logging.WARNING, logger="breedclf")
    return lambda: [text for text in caplog.messages if "feature store" in text]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("free", [0, 90_000])
def test_a_full_disk(
    patterns: Path, tmp_path: Path, small_disk: Callable[[str], Path], warnings: Callable[[], list[str]], free: int
) -> None:
    """Without room for an index, or for some of the features."""
    disk = small_disk("size=1m")
    full = disk / "full"
    full.write_bytes(bytes((1 << 20) - free // 4096 * 4096))
    model, counts = fit(patterns, tmp_path / "out", disk)
    assert counts == FeatureCounts(24, 0)
    [warning] = warnings()
    assert "(the disk is full, or has no more inodes)" in warning or "(database or disk is full)" in warning
    full.unlink()
    assert fit(patterns, tmp_path / "again", disk)[0] == model
    used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
    full.write_bytes(bytes((1 << 20) - used))
    assert fit(patterns, tmp_path / "whole", disk) == (model, FeatureCounts(0, 24))
    assert warnings() == [warning]


def test_a_read_only_disk(
    patterns: Path, tmp_path: Path, small_disk: Callable[[str], Path], warnings: Callable[[], list[str]]
) -> None:
    disk = small_disk("size=2m")
    expected, _ = fit(patterns, tmp_path / "out", disk)
    shutil.rmtree(patterns / "test")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert fit(patterns, tmp_path / "again", disk) == (expected, FeatureCounts(0, 24))
    assert warnings() == []
    for number in range(2):
        image = patterns / "train" / "001.Lying" / f"{number}.png"
        image.with_stem(f"x{number}").write_bytes(image.read_bytes() + b"other content")
    more, counts = fit(patterns, tmp_path / "more", disk)
    assert counts == FeatureCounts(2, 24)
    assert warnings() == [f"the feature store at {disk / FOLDER} failed (the disk is read-only); continuing without it"]
    assert fit(patterns, tmp_path / "elsewhere", tmp_path / "cache")[0] == more


class Destroying(TrainingHook):
    """Does something once, after the first chunk of images."""

    def __init__(self, destroy: Callable[[], object]) -> None:
        self._destroy: Callable[[], object] | None = destroy

    def on_features(self, progress: FeatureProgress) -> None:
        if progress.done >= 8 and self._destroy is not None:
            self._destroy()
            self._destroy = None


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("what", ["folder", "shards", "file in its place"])
def test_a_store_that_is_deleted_in_the_middle(
    patterns: Path, tmp_path: Path, what: str, warnings: Callable[[], list[str]]
) -> None:
    expected, _ = fit(patterns, tmp_path / "out", tmp_path / "cache")
    store = tmp_path / "other" / FOLDER

    def destroy() -> None:
        if what == "folder":
            shutil.rmtree(store)
        elif what == "file in its place":
            shutil.rmtree(store)
            store.touch()
        else:
            for path in store.rglob("*.rows" if what == "shards" else "index.sqlite*"):
                path.unlink()

    assert fit(patterns, tmp_path / "b", tmp_path / "other", Destroying(destroy)) == (expected, FeatureCounts(24, 0))
    assert len(warnings()) <= 2
    if what == "file in its place":
        store.unlink()
    assert fit(patterns, tmp_path / "c", tmp_path / "other")[0] == expected
