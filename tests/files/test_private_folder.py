"""What breedclf makes for itself is closed to other users of the machine, whatever the umask says."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from breedclf.backends.common.bundle import breedclf_bundle, store_bundle
from breedclf.backends.common.folder import create_job_folder
from breedclf.backends.local.forkserver_client import Address, ForkserverError
from breedclf.files.file_cache import FileCache
from breedclf.files.private_folder import make_private
from breedclf.jobs import JobSpec


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_missing_is_made_for_this_user_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    make_private(shared)
    assert mode(shared) == 0o2775


def test_the_folder_of_jobs_is_closed(tmp_path: Path) -> None:
    store_bundle(breedclf_bundle(), tmp_path / "first")
    create_job_folder(tmp_path / "second", JobSpec(name="job"), backend="local", options={}, now=0)
    assert mode(tmp_path / "first") == mode(tmp_path / "second") == 0o700


def test_caches_are_closed(tmp_path: Path) -> None:
    class Words(FileCache[bytes]):
        what, suffix = "words", ".txt"

        def _read(self, path: Path) -> bytes | None:
            return path.read_bytes()

        def _write(self, temporary: Path, path: Path, computed: bytes) -> bytes:  # noqa: ARG002
            temporary.write_bytes(computed)
            return computed

    assert Words.at(tmp_path / "cache").get_or_compute("key", lambda: b"x") == b"x"
    assert mode(tmp_path / "cache") == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="jobs are forked on Linux alone")
def test_the_fork_server_is_not_used_in_a_folder_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:  # a socket's name has 107 bytes at most
        folder = Path(short)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        mine = folder / f"breedclf-{os.getuid()}"
        assert mode(Address.of("python", {}).socket.parent) == 0o700
        mine.chmod(0o755)
        with pytest.raises(ForkserverError, match="isn't private"):
            Address.of("python", {})
        mine.rename(folder / "elsewhere")
        mine.symlink_to(folder / "elsewhere")
        (folder / "elsewhere").chmod(0o700)
        with pytest.raises(ForkserverError, match="isn't private"):
            Address.of("python", {})
