"""Digests of image files: which files are read, and that a change is never missed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from breedclf.data import digests, file_digests
from breedclf.data.digests import digest_of_file, read_digest
from breedclf.data.file_digests import digests_of_files
from breedclf.files.file_stat import FileStat
from breedclf.files.known_files import SETTLED_NS, KnownFiles, ReadFile


def later_ns() -> int:
    """A clock by which files written just now haven't changed for a while."""
    return time.time_ns() + 2 * SETTLED_NS


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []

    def recorded(path: Path, clock_ns: Callable[[], int]) -> ReadFile:
        names.append(path.name)
        return read_digest(path, clock_ns)

    monkeypatch.setattr(file_digests, "read_digest", recorded)
    return names


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("ant.jpg", "bee.jpg", os.fsdecode(b"caf\xe9.jpg"))]
    for path in found:
        path.write_bytes(os.fsencode(path.name))
    return found


def found(
    paths: list[Path], cache: Path, *, verify: bool = False, clock_ns: Callable[[], int] = later_ns
) -> list[bytes]:
    known = KnownFiles(cache / "digests.sqlite", 10**9, verify=verify, clock_ns=clock_ns)
    with ThreadPoolExecutor(2) as pool, known:
        return digests_of_files(paths, pool, known)


def test_only_new_and_changed_files_are_read(paths: list[Path], tmp_path: Path, read: list[str]) -> None:
    cache = tmp_path / "cache"
    assert found(paths, cache) == [digest_of_file(path) for path in paths]
    assert sorted(read) == sorted(path.name for path in paths)
    read.clear()
    assert found(paths[::-1], cache) == [digest_of_file(path) for path in paths[::-1]]
    assert read == []
    modified = paths[0].stat()
    paths[0].write_bytes(b"tna" + paths[0].read_bytes()[3:])
    os.utime(paths[0], ns=(modified.st_atime_ns, modified.st_mtime_ns))
    new = tmp_path / "dog.jpg"
    new.write_bytes(b"dog")
    paths[1].unlink()
    assert found([*paths, new], cache) == [digest_of_file(path) for path in [*paths, new]]
    assert sorted(read) == ["ant.jpg", "bee.jpg", "dog.jpg"]


def test_a_change_right_after_reading_is_not_missed(paths: list[Path], tmp_path: Path, read: list[str]) -> None:
    for number in range(20):
        paths[0].write_bytes(b"%3d" % number)
        assert found(paths[:1], tmp_path / "cache", clock_ns=time.time_ns) == [digest_of_file(paths[0])]
    assert len(read) == 20
    assert not (tmp_path / "cache").exists()


def test_a_link_counts_by_the_file_that_it_leads_to(paths: list[Path], tmp_path: Path, read: list[str]) -> None:
    link, cache = tmp_path / "link.jpg", tmp_path / "cache"
    for target in (paths[0], paths[1], paths[1]):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert found([link], cache) == [digest_of_file(target)]
    assert len(read) == 2


def test_verifying_finds_what_changed_unnoticed(
    paths: list[Path], tmp_path: Path, read: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cache, wrong = tmp_path / "cache", b"w" * 16
    with KnownFiles(cache / "digests.sqlite", 10**9) as known:
        known.add([str(paths[1])], [ReadFile(wrong, FileStat.of(paths[1].stat()), later_ns())])
    assert found(paths, cache)[1] == wrong
    assert not caplog.records
    for verify, files in ((True, 3), (False, 0)):
        read.clear()
        assert found(paths, cache, verify=verify) == [digest_of_file(path) for path in paths]
        assert len(read) == files
    assert [record.getMessage() for record in caplog.records] == [
        f"the content of 1 of 3 files has changed while their size and times haven't; the first: {paths[1]}"
    ]


def test_a_file_that_changes_while_it_is_read_is_not_known(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.read

    def read_and_change(descriptor: int, size: int) -> bytes:
        data = original(descriptor, size)
        paths[0].write_bytes(b"shorter")
        return data

    monkeypatch.setattr(digests.os, "read", read_and_change)
    assert read_digest(paths[0], later_ns).lasting_stat is None
    monkeypatch.undo()
    assert read_digest(paths[0], later_ns).lasting_stat == FileStat.of(paths[0].stat())


def test_what_is_no_readable_file_counts_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg", "missing.jpg", "nu\0ll.jpg"):
        assert found([tmp_path / name], tmp_path / "cache") == [b"unreadable " + name.encode()]
