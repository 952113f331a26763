"""The feature cache: hits, damage, waiting, eviction and a disk that refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from breedclf.errors import ConfigError
from breedclf.features.cache import FeatureCache, Features
from breedclf.files.file_cache import cache_key


class Computation:
    """Counts how often it was asked for."""

    def __init__(self, rows: int = 3, seconds: float = 0.0) -> None:
        self.calls = 0
        self.rows = rows
        self.seconds = seconds

    def __call__(self) -> Features:
        self.calls += 1
        time.sleep(self.seconds)
        return Features(torch.arange(self.rows * 4.0).view(self.rows, 4), torch.arange(self.rows), {7: "b.jpg: bad"})


def test_computed_once_and_read_back_the_same(tmp_path: Path) -> None:
    cache, computation = FeatureCache(tmp_path), Computation()
    first, second = cache.get_or_compute("k", computation), cache.get_or_compute("k", computation)
    assert computation.calls == 1
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.kept, second.kept)
    assert second.bad == {7: "b.jpg: bad"}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_file_is_computed_again_with_a_message(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache, computation = FeatureCache(tmp_path), Computation()
    cache.get_or_compute("k", computation)
    path = tmp_path / "k.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-2] ^= 0xFF
    path.write_bytes({"cut": content[:-10], "flip": content, "empty": b"", "foreign": b"hello"}[damage])
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        again = cache.get_or_compute("k", computation)
    assert computation.calls == 2
    assert torch.equal(again.values, Computation()().values)
    assert "computing them again" in caplog.text


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], object]) -> None:
    """The same file with other tensors or lists, and the checksum that it had."""
    with safe_open(path, framework="pt") as file:
        about, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, about)
    save_file(tensors, path, metadata=about)


@pytest.mark.parametrize(
    "change",
    [
        lambda _tensors, about: about.update(bad='{"6": "b.jpg: bad"}'),
        lambda _tensors, about: about.update(bad="{}"),
        lambda _tensors, about: about.pop("bad"),
        lambda tensors, _about: tensors.update(values=tensors["values"].view(torch.int32)),
        lambda tensors, _about: tensors.update(values=tensors["values"].view(4, 3)),
        lambda tensors, _about: tensors.update(kept=tensors["kept"].view(torch.float64)),
        lambda tensors, _about: tensors.update(values=tensors["kept"], kept=tensors["values"]),
    ],
)
def test_a_file_whose_values_stayed_but_not_what_they_mean(
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], dict[str, str]], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache, computation = FeatureCache(tmp_path), Computation()
    expected = cache.get_or_compute("k", computation)
    rewritten(tmp_path / "k.safetensors", lambda *_: None)
    cache.get_or_compute("k", computation)
    assert computation.calls == 1
    rewritten(tmp_path / "k.safetensors", change)
    again = cache.get_or_compute("k", computation)
    assert computation.calls == 2
    assert again.bad == expected.bad
    assert torch.equal(again.values, expected.values)
    assert "computing them again" in caplog.text


def test_those_of_another_key_in_its_place_are_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, computation = FeatureCache(tmp_path), Computation(rows=5)
    cache.get_or_compute("other", Computation())
    cache.get_or_compute("k", computation)
    (tmp_path / "k.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes())
    assert len(cache.get_or_compute("k", computation).kept) == 5
    assert "computing them again" in caplog.text


def test_of_many_that_want_the_same_one_computes(tmp_path: Path) -> None:
    cache, computation = FeatureCache(tmp_path), Computation(seconds=0.2)
    threads = [threading.Thread(target=cache.get_or_compute, args=("k", computation)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computation.calls == 1


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=18_000)
    for age, key in enumerate(["old", "used", "middle"]):
        cache.get_or_compute(key, Computation(rows=200))
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    cache.get_or_compute("used", Computation())
    cache.get_or_compute("new", Computation(rows=400))
    assert {entry.path.stem for entry in cache.entries()} == {"new", "used"}


def test_clear_says_what_went(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.get_or_compute("k", Computation())
    assert [entry.path.stem for entry in cache.clear()] == ["k"]
    assert cache.entries() == []


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING, logger="breedclf"):
        features = FeatureCache(tmp_path / "file" / "features").get_or_compute("k", Computation())
    assert len(features.kept) == 3
    assert "going on without it" in caplog.text


def test_the_key_depends_on_every_part() -> None:
    assert cache_key(data="a", view=[0, 0]) == cache_key(view=[0, 0], data="a")
    assert cache_key(data="a", view=[0, 0]) != cache_key(data="a", view=[1, 0])


def test_the_size_limit_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_CACHE_MAX_GB", "0.5")
    assert FeatureCache.at(tmp_path).max_bytes == 1 << 29
    monkeypatch.setenv("BREEDCLF_CACHE_MAX_GB", "lots")
    with pytest.raises(ConfigError, match="BREEDCLF_CACHE_MAX_GB='lots'"):
        FeatureCache.at(tmp_path)


@pytest.mark.parametrize("limit", ["inf", "-inf", "nan", "-1", "-0.001", "1e400", ""])
def test_a_size_limit_that_is_no_size_is_refused(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_CACHE_MAX_GB", limit)
    with pytest.raises(ConfigError, match=f"BREEDCLF_CACHE_MAX_GB='{limit}': give the cache's size limit in GB"):
        FeatureCache.at(tmp_path)


CROWD = """
import sys
from pathlib import Path
import torch
from breedclf.features.cache import FeatureCache, Features

cache, number = FeatureCache(Path(sys.argv[1]), max_bytes=20_000), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
for turn in range(60):
    key = (turn * (number + 1)) % 7
    found = cache.get_or_compute(str(key), lambda: Features(torch.full((200, 8), float(key)), torch.arange(200), {}))
    assert found.values.unique().tolist() == [key]
    cache.entries()
"""


def test_processes_that_share_a_cache_at_its_limit_delete_nothing_from_under_each_other(tmp_path: Path) -> None:
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for each in crowd:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in crowd:
        assert each.stdin is not None
        each.stdin.close()
        each.stdin = None
    for each in crowd:
        _, told = each.communicate(timeout=60)
        assert each.returncode == 0, told
    assert sum(entry.size_bytes for entry in FeatureCache(tmp_path).entries()) < 40_000


def test_an_entry_in_use_is_neither_deleted_nor_computed_twice(tmp_path: Path) -> None:
    cache, slow = FeatureCache(tmp_path, max_bytes=1), Computation(seconds=1.0)
    cache.get_or_compute("slow", Computation())
    (tmp_path / "slow.safetensors").write_bytes(b"damaged, and so computed again")
    first = threading.Thread(target=cache.get_or_compute, args=("slow", slow))
    first.start()
    while not slow.calls:
        time.sleep(0.01)
    cache.get_or_compute("other", Computation())
    assert [entry.path.stem for entry in cache.clear()] == ["other"]
    second = threading.Thread(target=cache.get_or_compute, args=("slow", slow))
    second.start()
    first.join()
    second.join()
    assert slow.calls == 1


def test_an_entry_that_is_deleted_is_computed_again_by_whoever_waited_for_its_lock(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.get_or_compute("k", Computation())
    cache.clear()
    assert list(tmp_path.iterdir()) == []
    assert len(cache.get_or_compute("k", Computation()).kept) == 3
