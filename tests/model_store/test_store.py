"""Versions, aliases and files of a store, and what is refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf import ModelStore
from breedclf.errors import ArtifactError, BreedclfError, ConfigError, DiskError
from breedclf.model_store.folder import StoreFolder, sha256_of
from tests.fakes import FakeClock
from tests.model_store.stored import METRICS, check_whole, write_model

Models = Callable[..., Path]
WRONG_NAME = '{"schema_version": 1, "name": "cats"}'
LOST_VERSION = '{"schema_version": 1, "name": "dogs", "aliases": {"live": 1}, "next_version": 2}'


def objects(store: ModelStore) -> list[str]:
    return sorted(each.name for each in (store.path / "objects").iterdir())


def test_versions_are_numbered_and_a_known_model_is_the_version_it_was(store: ModelStore, model: Models) -> None:
    first = store.add(model(b"a"), name="dogs", notes="first")
    second = store.add(model(b"b"), name="dogs")
    assert (first.version, second.version) == (1, 2)
    assert store.add(model(b"a"), name="dogs") == first
    assert store.add(model(b"a"), name="cats").version == 1
    assert store.names == ["cats", "dogs"]
    assert len(objects(store)) == 2, "the same files are stored once"
    assert (store.model_directory("dogs", 1) / "model.safetensors").read_bytes() == b"a"
    assert (first.architecture, first.classes, first.metrics, first.notes) == ("resnet18", 2, METRICS, "first")
    assert first.lineage.config["epochs"] == 2
    assert first.lineage.data_fingerprint == "3651da52"
    check_whole(store.path)


def test_a_number_is_not_given_twice(store: ModelStore, model: Models) -> None:
    store.add(model(b"a"), name="dogs")
    store.remove("dogs", store.add(model(b"b"), name="dogs").version)
    assert store.add(model(b"c"), name="dogs").version == 3


def test_aliases_of_ones_own(store: ModelStore, model: Models) -> None:
    store.add(model(b"a"), name="dogs")
    store.add(model(b"b"), name="dogs")
    store.alias("dogs", "best", 1)
    store.alias("dogs", "best", "2")
    assert store.record("dogs").version("best").version == 2
    assert [(each.before, each.after) for each in store.record("dogs").history] == [(None, 1), (1, 2)]
    with pytest.raises(ConfigError, match="version 2 of 'dogs' is best: move or delete the alias first"):
        store.remove("dogs", 2)
    store.alias("dogs", "best", None)
    assert store.remove("dogs", 2).version == 2
    for alias, message in (
        ("live", "promote and rollback move live and previous"),
        ("7", "choose another name"),
        ("a/b", "letters, digits"),
    ):
        with pytest.raises(ConfigError, match=message):
            store.alias("dogs", alias, 1)
    with pytest.raises(ConfigError, match="has no alias 'best'; there are: none"):
        store.alias("dogs", "best", None)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "dogs\n", "é"])
def test_names_that_not_every_disk_can_store(store: ModelStore, model: Models, name: str) -> None:
    with pytest.raises(ConfigError, match="name .*: use at most 64 letters, digits and"):
        store.add(model(), name=name)
    assert not store.path.exists()


def test_what_uses_a_version_protects_it(store: ModelStore, model: Models) -> None:
    for content in (b"a", b"b", b"c"):
        store.promote("dogs", store.add(model(content), name="dogs").version)
    with pytest.raises(ConfigError, match="version 3 of 'dogs' is live: promote another version first"):
        store.remove("dogs", "live")
    with pytest.raises(ConfigError, match="version 2 of 'dogs' is previous: it can be removed once another"):
        store.remove("dogs", 2)
    removed = store.remove("dogs", 1)
    assert removed.digest in objects(store)
    assert store.collect_garbage() == [removed.digest]
    assert store.collect_garbage() == []
    check_whole(store.path)
    with pytest.raises(ConfigError, match="model 'dogs' has no version 1; there are: 2, 3, live \\(3\\), previous"):
        store.model_directory("dogs", 1)


def test_files_that_another_model_uses_stay(store: ModelStore, model: Models) -> None:
    store.add(model(b"a"), name="dogs")
    store.add(model(b"a"), name="cats")
    store.remove("dogs", 1)
    assert store.collect_garbage() == []
    check_whole(store.path)


def test_what_a_killed_process_left_is_garbage(store: ModelStore, model: Models) -> None:
    version = store.add(model(b"a"), name="dogs")
    (store.path / "objects" / f"{'0' * 64}.part").mkdir()
    (store.path / "models" / ".dogs.json.7.ab.part").write_text("{")
    assert store.collect_garbage() == [".dogs.json.7.ab.part", f"{'0' * 64}.part"]
    assert objects(store) == [version.digest]


def test_a_damaged_record_is_named_and_nothing_is_collected(store: ModelStore, model: Models) -> None:
    store.add(model(b"a"), name="dogs")
    (store.path / "objects" / "unused").mkdir()
    record = store.path / "models" / "dogs.json"
    for text in (
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"schema_version": "x"}',
        "[" * 100_000,
        '{"schema_version": 1}',
        WRONG_NAME,
        LOST_VERSION,
    ):
        record.write_text(text)
        for action in (store.collect_garbage, lambda: store.record("dogs"), lambda: store.add(model(), name="dogs")):
            with pytest.raises(ArtifactError, match=r"dogs.json can't be read.*restore it from a copy"):
                action()
        assert record.read_text() == text
    record.write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(ConfigError, match="was written by a newer breedclf .schema_version 2, known 1.: upgrade"):
        store.collect_garbage()
    assert (store.path / "objects" / "unused").is_dir()


def test_a_model_that_is_not_whole(store: ModelStore, model: Models, tmp_path: Path) -> None:
    for missing in ("breedclf.json", "model.safetensors"):
        folder = model()
        (folder / missing).unlink()
        with pytest.raises(ArtifactError, match=f"has no {missing}"):
            store.add(folder, name="dogs")
    folder = model(b"old")
    (folder / "model.safetensors").write_bytes(b"new")  # as while it is written
    with pytest.raises(ArtifactError, match=r"model.safetensors isn't the file that breedclf.json names"):
        store.add(folder, name="dogs")
    with pytest.raises(ArtifactError, match="is not a breedclf model"):
        store.add(tmp_path / "nowhere", name="dogs")
    assert not store.path.exists()


def test_a_model_that_changes_while_it_is_added(store: ModelStore, model: Models) -> None:
    store.add(model(b"a"), name="dogs")
    source = model(b"before")
    sha256 = sha256_of(source, ["breedclf.json", "model.safetensors"])
    (source / "model.safetensors").write_bytes(b"after")
    before = objects(store)
    with pytest.raises(ArtifactError, match="changed while it was added: add it again"):
        StoreFolder(store.path).put(source, sha256)
    shutil.rmtree(source)
    with pytest.raises(ArtifactError, match="can't be read: No such file"):
        StoreFolder(store.path).put(source, sha256)
    assert objects(store) == before


def test_files_that_were_changed_in_the_store(store: ModelStore, model: Models) -> None:
    source = model(b"a")
    version = store.add(source, name="dogs")
    files = store.model_directory("dogs", 1)
    (files / "model.safetensors").write_bytes(b"b")
    with pytest.raises(ArtifactError, match="was changed or is damaged since it was added: add the same model again"):
        store.promote("dogs", 1)
    assert store.record("dogs").live is None
    assert store.add(source, name="dogs") == version
    store.promote("dogs", 1)
    check_whole(store.path)
    assert objects(store) == [version.digest]


def test_odd_cards(store: ModelStore, model: Models) -> None:
    version = store.add(model(metrics={"valid_loss": float("nan"), "valid_accuracy": None, "x": 1}), name="dogs")
    assert store.record("dogs").version(1).metrics == version.metrics == {"x": 1.0}
    for changes in (
        {"training": [1]},
        {"feature_bank": "x"},
        {"labels": None},
        {"metrics": 7},
        {"breedclf_version": 7},
        {"start_from": {"fingerprint": [1]}},
    ):
        with pytest.raises(ArtifactError):
            store.add(model(**changes), name="cats")
    assert store.names == ["dogs"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
def test_names_that_are_not_utf_8(store: ModelStore, tmp_path: Path) -> None:
    run = tmp_path / os.fsdecode(b"caf\xe9")
    version = store.add(write_model(run / "model"), name="dogs", notes="caf\udce9", journey=str(run))
    assert (version.source, version.notes) == (str(tmp_path / "caf\\xe9/model"), "caf\\xe9")
    assert store.record("dogs").versions == (version,)
    check_whole(store.path)


def test_a_store_needs_no_torch(model: Models, tmp_path: Path) -> None:
    actions = [["add", "dogs", str(model())], ["promote", "dogs", "1"], ["show", "dogs", "1"], ["list"], ["gc"]]
    code = (
        "import sys; from breedclf.cli import main\n"
        f"for action in {actions}: assert main(['models', *action, '--store', {str(tmp_path / 'store')!r}]) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lineage_that_the_caller_knows(store: ModelStore, model: Models) -> None:
    version = store.add(model(), name="dogs", tuning_job="search-1", trial="search-1-007", journey=None)
    assert (version.lineage.tuning_job, version.lineage.trial) == ("search-1", "search-1-007")
    with pytest.raises(ConfigError, match="lineage has no field 'tuning'; there are: data, "):
        store.add(model(), name="dogs", tuning="x")


def evaluated(model: Path, **changes: object) -> Path:
    """Metrics beside a model, as `breedclf evaluate` writes them."""
    folder = model.parent / "evaluation-test"
    folder.mkdir()
    metrics = {
        "split": "test",
        "accuracy": 0.9,
        "accuracy_interval": [0.8, 0.95],
        "count": 50,
        "majority_share": 0.5,
        "labels": ["cat", "dog"],
        "calibration": None,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics | changes))
    return folder


def test_the_evaluation_and_the_profile_beside_a_model(store: ModelStore, model: Models) -> None:
    folder = model()
    found = evaluated(folder)
    (folder.parent / "profile").mkdir()
    (folder.parent / "profile" / "profile.json").write_text("{}")
    version = store.add(folder, name="dogs")
    assert version.metrics == METRICS | {
        "test_accuracy": 0.9,
        "test_accuracy_low": 0.8,
        "test_accuracy_high": 0.95,
        "test_images": 50.0,
        "most_frequent": 0.5,
    }
    assert version.lineage.evaluation == str(found)
    assert version.lineage.profile == str(folder.parent / "profile")


def test_adding_a_version_again_notes_what_was_found_out_since(store: ModelStore, model: Models) -> None:
    folder = model()
    store.add(folder, name="dogs", notes="first", tuning_job="search-1")
    found = evaluated(folder)
    version = store.add(folder, name="dogs", trial="search-1-007")
    assert (version.version, version.notes, version.metrics["test_accuracy"]) == (1, "first", 0.9)
    assert (version.lineage.tuning_job, version.lineage.trial) == ("search-1", "search-1-007")
    assert version.lineage.evaluation == str(found)
    assert version.lineage.config["epochs"] == 2
    assert store.record("dogs").versions == (version,)
    assert store.add(folder, name="dogs", notes="second").notes == "second"
    assert store.record("dogs").next_version == 2


@pytest.mark.parametrize(
    "changes",
    [{"labels": ["cat", "fox"]}, {"calibration": {"temperature": 0.5}}, {"weights_sha256": "1" * 64}],
    ids=["other classes", "other temperature", "other weights"],
)
def test_an_evaluation_of_another_model_is_left_out(
    store: ModelStore, model: Models, changes: dict[str, object]
) -> None:
    folder = model()
    evaluated(folder, **changes)
    version = store.add(folder, name="dogs")
    assert (version.metrics, version.lineage.evaluation) == (METRICS, None)


def test_an_evaluation_that_is_older_than_the_model_is_left_out(store: ModelStore, model: Models) -> None:
    folder = model()
    metrics = evaluated(folder) / "metrics.json"
    os.utime(metrics, (1, 1))
    assert store.add(folder, name="dogs").metrics == METRICS


def test_everything_is_flushed_to_the_disk(store: ModelStore, model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a power failure can matter: files and folders of a version, then its record."""
    synced: list[int] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    store.add(model(b"a"), name="dogs")
    files = store.model_directory("dogs", 1)
    record = store.path / "models" / "dogs.json"
    for path in (*files.iterdir(), files, files.parent, record, record.parent, store.path):
        assert path.stat().st_ino in synced, path
    assert max(synced.index(each.stat().st_ino) for each in files.iterdir()) < synced.index(record.stat().st_ino)


def test_a_full_disk(model: Models, small_disk: Callable[[str], Path], clock: FakeClock) -> None:
    full = ModelStore(small_disk("size=64k") / "store", clock=clock)
    version = full.add(model(b"a"), name="dogs")
    large = model(b"x" * 100_000)
    with pytest.raises(DiskError, match="objects can't be written: the disk is full.*nothing was changed"):
        full.add(large, name="dogs")
    assert full.record("dogs").versions == (version,)
    assert objects(full) == [version.digest]
    check_whole(full.path)


@pytest.mark.skipif(sys.platform == "win32", reason="it limits what this process may write")
def test_a_limit_of_file_sizes(store: ModelStore, model: Models) -> None:
    store.add(model(b"a"), name="dogs")
    large, before = model(b"x" * 9_000), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        with pytest.raises(DiskError, match=r"largest file size that is allowed here \(ulimit -f\)"):
            store.add(large, name="dogs")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(objects(store)) == 1
    check_whole(store.path)


def test_a_read_only_disk(model: Models, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=1m")
    store = ModelStore(disk / "store")
    version = store.add(model(b"a"), name="dogs")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    changes: list[Callable[[], object]] = [
        lambda: store.add(model(b"b"), name="dogs"),
        lambda: store.promote("dogs", 1),
        lambda: store.alias("dogs", "best", 1),
        lambda: store.remove("dogs", 1),
        store.collect_garbage,
    ]
    for change in changes:
        with pytest.raises(DiskError, match="store can't be written: the disk is read-only; choose a folder that can"):
            change()
    assert store.record("dogs").versions == (version,)
    assert store.model_directory("dogs", 1).is_dir()


def test_a_file_where_the_store_should_be(tmp_path: Path, model: Models) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(DiskError, match="can't be written"):
            ModelStore(path).add(model(), name="dogs")
        assert ModelStore(path).names == []
        with pytest.raises(BreedclfError, match="has no model 'dogs'"):
            ModelStore(path).record("dogs")


def test_a_store_of_a_model_written_by_hand(tmp_path: Path) -> None:
    """A run's output folder is accepted, too: the model is in it."""
    write_model(tmp_path / "runs/a/model")
    store = ModelStore(tmp_path / "store")
    assert store.add(tmp_path / "runs/a", name="dogs").source == str(tmp_path / "runs/a/model")
