"""A feature set: found, appended and read rows, and every kind of damage."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.in_use import this_machine
from breedclf.features.store.spec import FORMAT
from tests.features.store.examples import SPEC, digests_of, features_of, spec

ALL = range(100)


def stored(folder: Path, numbers: range = ALL) -> Path:
    """The folder of a set with features of these images."""
    folder = folder / "store" / SPEC.key
    with FeatureSet(folder, SPEC) as opened:
        for first in range(numbers.start, numbers.stop, 64):
            some = range(first, min(first + 64, numbers.stop))
            opened.append(digests_of(some), features_of(some))
    return folder


def found(folder: Path, numbers: range = ALL) -> list[int]:
    """The images whose features are found; they are checked, and the other ones can be stored again."""
    with FeatureSet(folder, SPEC) as opened:
        rows = opened.find(digests_of(numbers))
        there = [numbers[at] for at in np.flatnonzero(rows.found)]
        if there:
            assert torch.equal(opened.read(rows.of(rows.found)), features_of(there))
        rest = [number for number in numbers if number not in there]
        if rest:
            opened.append(digests_of(rest), features_of(rest))
    with FeatureSet(folder, SPEC) as opened:
        assert opened.find(digests_of(numbers)).found.all()
    return there


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8,), (3, 2, 2)])
def test_features_are_found_in_any_order_by_another_process(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    values = torch.randn(150, *shape).to(dtype)
    with FeatureSet(tmp_path / "set", SPEC) as opened:
        assert not opened.find(digests_of(range(150))).found.any()
        for some in (range(64), range(64, 128), range(128, 150)):
            opened.append(digests_of(some), values[some.start : some.stop])
    order = torch.randperm(150)
    with FeatureSet(tmp_path / "set", SPEC) as again:
        rows = again.find(digests_of([*order.tolist(), 1_000]))
        assert rows.found.tolist() == [True] * 150 + [False]
        read = again.read(rows.of(rows.found))
    assert read.dtype == dtype
    assert torch.equal(read, values[order])


def test_features_of_no_image(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    with FeatureSet(folder, SPEC) as opened:
        rows = opened.find(digests_of(range(200, 264)))
        assert opened.read(rows.of(rows.found)).shape == (0, 8)
        opened.append(digests_of(range(0)), features_of(range(0)))
    assert found(folder) == list(ALL)


def test_more_images_than_are_looked_up_at_a_time(tmp_path: Path) -> None:
    count = 70_000
    digests = np.random.default_rng(0).integers(0, 256, (count, 16), dtype=np.uint8)
    with FeatureSet(tmp_path / "set", SPEC) as opened:
        opened.append(digests, torch.arange(count).float()[:, None])
        assert opened.read(opened.find(digests))[:, 0].tolist() == list(range(count))


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


def altered(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


ROW = 8 * 4
DAMAGE: dict[str, tuple[Callable[[Path], object], int]] = {
    "a row": (lambda folder: flip(folder / "000001.rows", 40 * ROW + 5), 99),
    "a shard is cut": (lambda folder: os.truncate(folder / "000001.rows", 40 * ROW + 5), 40),
    "a shard is gone": (lambda folder: (folder / "000001.rows").unlink(), 0),
    "a shard is a folder": (
        lambda folder: ((folder / "000001.rows").unlink(), (folder / "000001.rows").mkdir()),
        0,
    ),
    "rows of another place": (lambda folder: altered(folder / "index.sqlite", "UPDATE images SET row = 99 - row"), 0),
    "rows before the first": (lambda folder: altered(folder / "index.sqlite", "UPDATE images SET row = -row - 1"), 0),
    "rows beyond all": (lambda folder: altered(folder / "index.sqlite", "UPDATE images SET row = 1 << 60"), 0),
    "no shard": (lambda folder: altered(folder / "index.sqlite", "UPDATE images SET shard = -1"), 0),
    "rows that are text": (lambda folder: altered(folder / "index.sqlite", "UPDATE images SET row = 'x'"), 0),
    "checksums": (lambda folder: altered(folder / "index.sqlite", "UPDATE images SET checksum = checksum + 1"), 0),
    "a table is gone": (lambda folder: altered(folder / "index.sqlite", "DROP TABLE images"), 0),
    "fewer rows": (lambda folder: altered(folder / "index.sqlite", "UPDATE shards SET rows = 10"), 100),
    "the index is cut": (lambda folder: os.truncate(folder / "index.sqlite", 5_000), 0),
    "the index is text": (lambda folder: (folder / "index.sqlite").write_text("text" * 4_000), 0),
    "the index is empty": (lambda folder: (folder / "index.sqlite").write_bytes(b""), 0),
    "the index is gone": (lambda folder: (folder / "index.sqlite").unlink(), 0),
    "the description is gone": (lambda folder: (folder / "set.json").unlink(), 0),
    "the description is empty": (lambda folder: (folder / "set.json").write_bytes(b""), 0),
    "the description is a list": (lambda folder: (folder / "set.json").write_text("[]"), 0),
    "the description has another type": (
        lambda folder: (folder / "set.json").write_text(
            (folder / "set.json").read_text().replace("float32", "bfloat16")
        ),
        0,
    ),
    "a type that there isn't": (
        lambda folder: (folder / "set.json").write_text((folder / "set.json").read_text().replace("float32", "int7")),
        0,
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_features_are_never_read_and_can_be_stored_again(tmp_path: Path, damage: str) -> None:
    folder = stored(tmp_path)
    change, left = DAMAGE[damage]
    change(folder)
    for attempt in range(3):  # a damage that is found in the middle is mended when the set is opened the next time
        try:
            there = found(folder)
        except (ValueError, OSError):
            assert attempt < 2
            there = []
            continue
        break
    assert len(there) == left or attempt
    assert found(folder) == list(ALL)


def test_features_of_another_set_are_not_taken(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    other = tmp_path / "store" / "other"
    with FeatureSet(other, SPEC) as opened:
        opened.append(digests_of(ALL), -features_of(ALL))
    (folder / "000001.rows").write_bytes((other / "000001.rows").read_bytes())
    assert found(folder) == []


def test_the_shard_of_another_spec(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    with FeatureSet(folder.with_name(spec(1).key), spec(1)) as opened:
        opened.append(digests_of(ALL), features_of(ALL))
    shutil.copytree(folder.with_name(spec(1).key), folder, dirs_exist_ok=True)
    assert found(folder) == []


def test_a_torn_tail_is_cut_off(tmp_path: Path) -> None:
    folder = stored(tmp_path, range(50))
    with (folder / "000001.rows").open("ab") as shard:
        shard.write(b"half a row")
    assert found(folder) == list(range(50))
    assert (folder / "000001.rows").stat().st_size == 100 * ROW


def test_a_shard_without_entries_is_deleted(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    (folder / "000007.rows").write_bytes(b"rows")
    assert found(folder) == list(ALL)
    assert not (folder / "000007.rows").exists()


def test_a_set_of_a_later_version_stays(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    about = json.loads((folder / "set.json").read_text())
    (folder / "set.json").write_text(json.dumps({**about, "format": FORMAT + 1, "dtype": "float8"}))
    (folder / "000009.rows").write_bytes(b"rows")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"of a later version of breedclf, format 4.*upgrade breedclf"):
        FeatureSet(folder, SPEC)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_set_that_others_use_is_not_started_again(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    with FeatureSet(folder, SPEC) as first:
        (folder / "set.json").write_text("damaged")
        with pytest.raises(ValueError, match="other processes use it"):
            FeatureSet(folder, SPEC)
        assert first.find(digests_of(ALL)).found.all()
    assert found(folder) == []


def test_a_shard_that_is_deleted_while_it_is_read(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    with FeatureSet(folder, SPEC) as opened:
        rows = opened.find(digests_of(ALL))
        shutil.rmtree(folder)
        assert torch.equal(opened.read(rows), features_of(ALL))


def test_a_set_that_is_deleted_while_it_is_written(tmp_path: Path) -> None:
    with FeatureSet(tmp_path / "set", SPEC) as opened:
        rows = opened.append(digests_of(range(64)), features_of(range(64)))
        shutil.rmtree(tmp_path / "set")
        with pytest.raises(OSError, match="it was deleted"):
            opened.append(digests_of(range(64, 100)), features_of(range(64, 100)))
        assert torch.equal(opened.read(rows), features_of(range(64)))


def test_writers_at_once_have_shards_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with FeatureSet(folder, SPEC) as one, FeatureSet(folder, SPEC) as two:
        one.append(digests_of(range(10)), features_of(range(10)))
        two.append(digests_of(range(10, 20)), features_of(range(10, 20)))
        one.append(digests_of(range(20, 30)), features_of(range(20, 30)))
        assert one.find(digests_of(range(30))).found.all()
    assert sorted(path.name for path in folder.glob("*.rows")) == ["000001.rows", "000002.rows"]
    assert found(folder, range(30)) == list(range(30))


def test_passes_over_the_same_images_wait_for_each_other_and_others_do_not(tmp_path: Path) -> None:
    with FeatureSet(tmp_path / "set", SPEC) as opened, opened.computing(digests_of(range(5))):
        done: list[str] = []

        def compute(name: str, numbers: range) -> None:
            with FeatureSet(tmp_path / "set", SPEC) as other, other.computing(digests_of(numbers)):
                done.append(name)

        same = threading.Thread(target=compute, args=("same", range(4, -1, -1)))
        same.start()
        different = threading.Thread(target=compute, args=("different", range(6)))
        different.start()
        different.join(timeout=30)
        assert done == ["different"]
    same.join(timeout=30)
    assert done == ["different", "same"]
    assert not list((tmp_path / "set").glob("computing-*"))


@pytest.mark.parametrize("machine", ["another", "this"])
def test_on_a_network_file_system_one_machine_at_a_time_uses_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    import breedclf.features.store.feature_set as module

    monkeypatch.setattr(module, "network_file_system", lambda _: "nfs4")
    with FeatureSet(tmp_path / "set", SPEC) as opened:
        if machine == "another":
            monkeypatch.setattr(module, "this_machine", lambda: "elsewhere")
            with pytest.raises(ValueError, match=rf"{this_machine()} uses it, and on a network .*\(nfs4\).*s3://"):
                FeatureSet(tmp_path / "set", SPEC)
        else:
            FeatureSet(tmp_path / "set", SPEC).close()
        opened.append(digests_of(ALL), features_of(ALL))
    assert found(tmp_path / "set") == list(ALL)


def test_the_log_says_what_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = stored(tmp_path)
    flip(folder / "000001.rows", 0)
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        found(folder)
    assert f"1 features in {folder} are damaged or gone; computing them again" in caplog.text
    (folder / "set.json").write_text("{")
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        found(folder)
    assert f"{folder} can't be read, its set.json is damaged; computing them again" in caplog.text
