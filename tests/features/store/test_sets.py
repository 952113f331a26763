"""The sets of a store: listed, evicted by last use, cleared, and those of older versions."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from breedclf.errors import ConfigError
from breedclf.features.store.description import SetDescription
from breedclf.features.store.sets import stored_sets
from breedclf.features.store.store import FeatureStore
from tests.features.store.examples import digests_of, features_of, spec

SIZE = 4096  # float32: 1.6 MB of features, beside which an index is small
IMAGES = range(100)
MB = 1_000_000


def fill(store: FeatureStore, view: int, images: range = IMAGES) -> None:
    with store.open(spec(view)) as opened:
        opened.append(digests_of(images), features_of(images, SIZE))


def use(store: FeatureStore, view: int) -> bool:
    """Whether all features are there."""
    with store.open(spec(view)) as opened:
        return bool(opened.find(digests_of(IMAGES)).found.all())


def views(store: FeatureStore) -> list[int]:
    return [view for stored in store.sets() for view in range(9) if stored.path.name == spec(view).key]


def test_sets_are_listed_with_what_they_are(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for view in range(3):
        fill(store, view)
    use(store, 1)
    assert views(store) == [1, 2, 0]
    last = store.sets()[0]
    assert last.images == 100
    assert 1.6 * MB < last.size_bytes < 1.8 * MB
    assert (last.spec["name"], last.spec["view"]) == ("resnet18 none", [1, 0])
    assert abs(last.used_at - time.time()) < 30


def test_a_set_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    fill(store, 0)
    (store.sets()[0].path / "set.json").write_text("damaged")
    [listed] = store.sets()
    assert (listed.images, listed.spec) == (None, {})
    assert [each.path for each in store.clear()] == [listed.path]


def test_the_least_recently_used_features_are_deleted_first(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, max_bytes=6 * MB)
    for view in range(3):
        fill(store, view)
    assert use(store, 0)
    fill(store, 3)
    assert views(store) == [3, 0, 2]
    assert sum(each.size_bytes for each in store.sets()) <= 6 * MB
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(spec(v).key for v in (0, 2, 3))


def test_a_clock_that_is_put_back_changes_no_order(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, max_bytes=6 * MB)
    for view in range(3):
        fill(store, view)
    for path in tmp_path.rglob("*.rows"):  # as if the clock had been a year ahead
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 365 * 86_400 * 10**9))
    assert use(store, 0)
    fill(store, 3)
    assert views(store) == [3, 0, 2]
    assert all(each.used_at <= time.time() for each in store.sets())


def test_of_a_large_set_only_unused_shards_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("breedclf.features.store.shards.MAX_BYTES", 1 * MB)
    store = FeatureStore(tmp_path, max_bytes=4 * MB)
    for first in range(0, 400, 100):
        fill(store, 0, range(first, first + 100))
    with store.open(spec()) as opened:
        found = opened.find(digests_of(range(400))).found
        assert found.tolist() == [False] * 200 + [True] * 200
        opened.append(digests_of(IMAGES), features_of(IMAGES, SIZE))
    with store.open(spec()) as opened:
        assert opened.find(digests_of(range(300, 400))).found.all()
        assert opened.find(digests_of(IMAGES)).found.all()


def test_a_set_in_use_is_neither_evicted_nor_cleared(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, max_bytes=1)
    with store.open(spec(0)) as opened:
        opened.append(digests_of(IMAGES), features_of(IMAGES, SIZE))
        fill(store, 1)
        assert views(store) == [1, 0]
        assert [each.path.name for each in store.clear()] == [spec(1).key]
        assert opened.find(digests_of(IMAGES)).found.all()
    assert use(store, 0)
    fill(store, 2)
    assert views(store) == [2]


def test_sets_of_later_versions_are_not_evicted(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, max_bytes=1)
    fill(store, 0)
    about = store.folder / spec(0).key / "set.json"
    about.write_text(about.read_text().replace('"format": 3', '"format": 4'))
    fill(store, 1)
    assert views(store) == [1, 0]


def test_clear_leaves_nothing_and_touches_nothing_else(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    for view in range(2):
        fill(store, view)
    (tmp_path / f".deleted-{spec(5).key}-0123").mkdir()  # by a process that was killed
    assert {each.path.name for each in store.clear()} == {spec(0).key, spec(1).key}
    assert store.clear() == []
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_marks_of_processes_that_were_killed_do_not_count(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    fill(store, 0)
    (store.folder / spec(0).key / "machine~1-0.use").touch()
    assert len(store.clear()) == 1


def test_features_of_older_versions_are_deleted_with_their_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = tmp_path / "features"
    older.mkdir()
    (older / "0123.safetensors").write_bytes(bytes(3 * MB))
    (older / "0123.lock").touch()
    (older / "mine.txt").touch()
    store = FeatureStore.at(None, tmp_path)
    with caplog.at_level(logging.INFO, logger="breedclf"):
        fill(store, 0)
        (older / "mine.txt").unlink()
        use(store, 0)
    assert caplog.text.count(f"deleted 3.0 MB of features that an older version cached in {older}") == 1
    assert caplog.text.count("that an older version cached") == 1
    assert not older.exists()


def test_the_size_limit_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_CACHE_MAX_GB", "0.5")
    assert FeatureStore.at(None, tmp_path).max_bytes == 1 << 29
    for limit in ("lots", "inf", "-inf", "nan", "-1", "-0.001", "1e400", ""):
        monkeypatch.setenv("BREEDCLF_CACHE_MAX_GB", limit)
        with pytest.raises(ConfigError, match=f"BREEDCLF_CACHE_MAX_GB='{limit}': give the cache's size limit in GB"):
            FeatureStore.at(None, tmp_path)


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert stored_sets(tmp_path / "file") == stored_sets(tmp_path / "missing") == []
    assert SetDescription.read(tmp_path) is None
    with pytest.raises(OSError, match="file"):
        FeatureStore(tmp_path / "file").open(spec())
