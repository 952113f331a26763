"""Folders that are replaced as a whole, and only if nobody else's files are in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf.errors import ConfigError
from breedclf.files.whole_folder import replacing_folder

MARKER = "files.json"


def write(folder: Path, **files: str) -> None:
    with replacing_folder(folder, MARKER) as new:
        for name, text in files.items():
            (new / name).write_text(text, encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_made_and_then_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "site"
    write(folder, a="1", b="1")
    write(folder, b="2", c="2")
    assert names(folder) == ["b", "c", MARKER]
    assert (folder / "b").read_text() == "2"
    assert names(folder.parent) == ["site"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    write(tmp_path / "site", a="1")
    assert names(tmp_path / "site") == ["a", MARKER]


def test_the_old_files_stay_if_the_new_ones_cannot_be_made(tmp_path: Path) -> None:
    write(tmp_path / "site", a="1")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "site", MARKER) as new:
        (new / "a").write_text("2")
        1 / 0  # noqa: B018
    assert (tmp_path / "site" / "a").read_text() == "1"
    assert names(tmp_path) == ["site"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "site").symlink_to(tmp_path / "real")
    write(tmp_path / "site", a="1")
    assert (tmp_path / "site").is_symlink()
    assert names(tmp_path / "real") == ["a", MARKER]


def test_files_of_others_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"contains other files, such as thesis\.txt"):
        write(mine, a="1")
    write(tmp_path / "site", a="1")
    (tmp_path / "site" / "notes.txt").write_text("added later")
    with pytest.raises(ConfigError, match=r"such as notes\.txt"):
        write(tmp_path / "site", a="2")
    assert (tmp_path / "site" / "a").read_text() == "1"
    with pytest.raises(ConfigError, match="is a file"):
        write(mine / "thesis.txt", a="1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match="is the current folder"):
        write(Path(), a="1")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"files": 3}', '"files"'], ids=range(5))
def test_a_damaged_list_of_files_permits_nothing(tmp_path: Path, content: str) -> None:
    write(tmp_path / "site", a="1")
    (tmp_path / "site" / MARKER).write_text(content)
    with pytest.raises(ConfigError, match="contains other files"):
        write(tmp_path / "site", a="2")
