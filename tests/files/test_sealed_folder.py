"""Folders that are taken again only as they were left."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf.files.sealed_folder import SEAL_FILE, is_as_sealed, seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.bin").write_bytes(bytes(1000))
    (tmp_path / "about.json").write_text("{}")
    seal(tmp_path, "k")
    return tmp_path


def test_a_folder_as_it_was_left(folder: Path) -> None:
    assert is_as_sealed(folder, "k")
    assert not is_as_sealed(folder, "another key")
    assert not is_as_sealed(folder / "nowhere", "k")


@pytest.mark.parametrize("damage", ["bit", "less", "more", "no seal", "empty seal", "deep seal"])
def test_any_change_is_seen(folder: Path, damage: str) -> None:
    match damage:
        case "bit":
            (folder / "model.bin").write_bytes(bytes(999) + b"\1")
        case "less":
            (folder / "about.json").unlink()
        case "more":
            (folder / "other").touch()
        case "no seal":
            (folder / SEAL_FILE).unlink()
        case "empty seal":
            (folder / SEAL_FILE).write_text("")
        case "deep seal":
            (folder / SEAL_FILE).write_text("[" * 100_000)
    assert not is_as_sealed(folder, "k")
