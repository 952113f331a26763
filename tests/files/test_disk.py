"""Atomic writes: the old content or the new one, and nothing else in the folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from breedclf.errors import DiskError
from breedclf.files.disk import replacing, write_atomic, write_output


@pytest.mark.parametrize("sync", [False, True])
def test_text_and_bytes_replace_the_old_file(tmp_path: Path, sync: bool) -> None:
    file = tmp_path / "state.json"
    write_atomic(file, "žluť\n", sync=sync)
    assert file.read_bytes() == "žluť\n".encode()
    write_atomic(file, b"\r\n\xff", sync=sync)
    assert file.read_bytes() == b"\r\n\xff"
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_has_the_permissions_of_a_new_file_or_those_requested(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "plain", "text")
        write_atomic(tmp_path / "secret", "text", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_output_goes_into_new_folders_or_raises_a_disk_error(tmp_path: Path) -> None:
    write_output(tmp_path / "a/b/report.html", "text")
    assert (tmp_path / "a/b/report.html").read_text() == "text"
    with pytest.raises(DiskError, match=r"report\.html/x can't be written: .*; make room, or choose another folder"):
        write_output(tmp_path / "a/b/report.html/x", "text")
