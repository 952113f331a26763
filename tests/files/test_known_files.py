"""The table of known files: what counts as unchanged, and what a damaged, full, locked or newer table does."""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf.files import known_files
from breedclf.files.file_stat import FileStat
from breedclf.files.known_files import SETTLED_NS, KnownFiles, ReadFile

STAT = FileStat(size=3, mtime_ns=10**18, ctime_ns=10**18, inode=7)
NOW = 2 * 10**18
DAY_NS = 86_400 * 10**9
PATHS = [f"/images/{name}.jpg" for name in ("ant", "bee", "caf\udce9", "dog")]
DIGESTS = [bytes([number]) * 16 for number in range(len(PATHS))]
READ = [ReadFile(digest, STAT, NOW) for digest in DIGESTS]


def known(folder: Path, *, max_bytes: int = 10**9, days: int = 0) -> KnownFiles:
    return KnownFiles(folder / "digests.sqlite", max_bytes, clock_ns=lambda: NOW + days * DAY_NS)


def filled(folder: Path) -> KnownFiles:
    with known(folder) as table:
        table.add(PATHS, READ)
    return table


def found(table: KnownFiles, paths: list[str] = PATHS, stat: FileStat | None = STAT) -> list[bytes | None]:
    with table:
        return table.find(paths, lambda some: [stat] * len(some))


def test_a_file_is_known_until_a_stat_value_differs(tmp_path: Path) -> None:
    filled(tmp_path)
    assert found(known(tmp_path)) == DIGESTS
    for name in FileStat._fields:
        assert found(known(tmp_path), stat=STAT._replace(**{name: 1})) == [None] * 4, name
    assert found(known(tmp_path), stat=None) == [None] * 4
    assert found(known(tmp_path), ["/images/eel.jpg", "/other/ant.jpg", "/images/ant.jpg"]) == [None, None, DIGESTS[0]]


def test_a_relative_path_is_that_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with known(tmp_path) as table:
        table.add(["ant.jpg"], READ[:1])
    assert found(known(tmp_path), ["ant.jpg", str(tmp_path / "one/ant.jpg")]) == [DIGESTS[0]] * 2
    monkeypatch.chdir(tmp_path / "two")
    assert found(known(tmp_path), ["ant.jpg"]) == [None]


@pytest.mark.parametrize(
    "stat",
    [STAT._replace(ctime_ns=NOW - SETTLED_NS + 1), STAT._replace(mtime_ns=NOW + DAY_NS), None],
    ids=["just changed", "in the future", "changed while it was read"],
)
def test_a_file_that_may_change_unnoticed_is_forgotten(tmp_path: Path, stat: FileStat | None) -> None:
    filled(tmp_path)
    with known(tmp_path) as table:
        table.add(PATHS[:1], [ReadFile(b"new", stat, NOW)])
    assert found(known(tmp_path), stat=stat or STAT)[0] is None
    assert found(known(tmp_path))[1:] == DIGESTS[1:]


def test_no_damaged_byte_gives_a_wrong_digest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = filled(tmp_path).database.read_bytes()
    rng = random.Random(0)
    start = whole.rindex(b"dog.jpg") - 8  # the rows are tried more often
    places = [rng.randrange(len(whole)) for _ in range(60)] + [rng.randrange(start, len(whole)) for _ in range(60)]
    lost = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        (tmp_path / "digests.sqlite").write_bytes(damaged)
        caplog.clear()
        digests = found(known(tmp_path))
        assert all(one in (None, other) for one, other in zip(digests, DIGESTS, strict=True)), place
        assert len(caplog.records) <= 1
        lost += None in digests
    assert lost > 10


def test_a_damaged_table_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "digests.sqlite").write_bytes(b"no database" * 100)
    table = known(tmp_path)
    assert found(table) == [None] * 4
    with table:
        table.add(PATHS, READ)
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        f"the table of known files {tmp_path / 'digests.sqlite'} is damaged"
    ]
    assert found(known(tmp_path)) == DIGESTS


def _newer(database: Path) -> None:
    with sqlite3.connect(database) as table:
        table.execute("PRAGMA user_version = 2")
    table.close()


def _in_a_file(database: Path) -> None:
    database.unlink()
    database.parent.rmdir()
    database.parent.touch()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(_newer, "format 2, which is newer"), (_in_a_file, "Not a directory")],
    ids=["newer", "no folder"],
)
def test_a_table_that_cannot_be_used_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], why: str
) -> None:
    database = filled(tmp_path / "files").database
    spoil(database)
    table = known(tmp_path / "files")
    for _ in range(2):
        assert found(table) == [None] * 4
        with table:
            table.add(PATHS, READ)
    assert len(caplog.records) == 1
    if spoil is _newer:
        assert why in caplog.text
        assert sqlite3.connect(database).execute("SELECT count(*) FROM files").fetchone() == (4,)


def test_a_locked_table_is_waited_for_and_then_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "_LOCK_SECONDS", 0.05)
    other = sqlite3.connect(filled(tmp_path).database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert found(known(tmp_path)) == [None] * 4
    assert known(tmp_path).clear() == []
    other.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "database is locked" in caplog.text
    assert found(known(tmp_path)) == DIGESTS


def test_a_full_disk_costs_one_warning_and_no_entry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = filled(tmp_path).database
    more = [f"/images/{number}.jpg" for number in range(2000)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (database.stat().st_size + 4096, limits[1]))
    try:
        with known(tmp_path) as table:
            table.add(more, READ[:1] * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(caplog.records) == 1
    assert found(known(tmp_path)) == DIGESTS
    assert found(known(tmp_path), more) == [None] * 2000


def test_what_was_not_seen_for_longest_is_dropped_at_the_size_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def names(week: int) -> list[str]:
        return [f"/week {week}/{number}.jpg" for number in range(500)]

    for week in range(20):
        with known(tmp_path, max_bytes=200_000, days=7 * week) as table:
            assert found(table, names(0))[0] == (DIGESTS[0] if week else None)  # these are in use
            table.add(names(week), READ[:1] * 500)
    is_known = [found(known(tmp_path, days=133), names(week))[0] is not None for week in (0, 1, 2, 18, 19)]
    assert is_known == [True, False, False, True, True]
    assert (tmp_path / "digests.sqlite").stat().st_size < 250_000
    assert not caplog.records
    for part in range(9):
        with known(tmp_path, max_bytes=200_000, days=133) as table:
            table.add([f"/large/{part}-{number}.jpg" for number in range(500)], READ[:1] * 500)
    assert "BREEDCLF_CACHE_MAX_GB raises the limit" in caplog.text
    assert (tmp_path / "digests.sqlite").stat().st_size < 250_000


def test_it_is_listed_and_cleared(tmp_path: Path) -> None:
    assert known(tmp_path).entries() == known(tmp_path).clear() == []
    for content in (None, b"damaged" * 1000):
        table = filled(tmp_path)
        if content:
            table.database.write_bytes(content)
        assert [entry.path for entry in known(tmp_path).clear()] == [table.database]
        assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from breedclf.files.known_files import KnownFiles, ReadFile
from breedclf.files.file_stat import FileStat

for start in range(0, 10**9, 2000):
    names = [f"/images/{number % 20000}.jpg" for number in range(start, start + 2000)]
    with KnownFiles(Path(sys.argv[1]), 10**9) as table:
        table.add(names, [ReadFile(name.encode(), FileStat(3, 10**18, 10**18, 7), 2 * 10**18) for name in names])
    print(start, flush=True)
"""


def test_kills_and_several_writers_leave_a_whole_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database, rng = tmp_path / "digests.sqlite", random.Random(1)
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(database)], stdout=subprocess.PIPE) for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.2))
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.communicate()
    names = [f"/images/{number}.jpg" for number in range(20000)]
    digests = found(known(tmp_path), names)
    assert digests[:2000] == [name.encode() for name in names[:2000]]
    assert all(digest in (None, name.encode()) for name, digest in zip(names, digests, strict=True))
    assert sqlite3.connect(database).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not caplog.records
