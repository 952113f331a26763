"""Processes of torchrun, on one machine and on two without a common folder, share the pass: each image passes once."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breedclf import TrainingConfig
from breedclf.training.fit import fit
from tests.integration.conftest import RESNET, write_patterns

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun's processes need POSIX"),
]

SETTINGS: dict[str, Any] = {
    **RESNET,
    "precision": "fp32",
    "device": "cpu",
    "epochs": 1,
    "batch_size": 4,
    "profile": "off",
    "checkpoints": False,
}
IMAGES = 2 * (40 + 4)

PROGRAM = """
import json, os, signal, sqlite3, sys, threading, time
from pathlib import Path
from breedclf import Trainer, TrainingConfig
from breedclf.errors import BreedclfError

rank, (settings, event) = os.environ["RANK"], sys.argv[1:]
config = TrainingConfig(**json.loads(settings))
trainer = Trainer(config)

def stored():
    for index in Path(os.environ["BREEDCLF_CACHE_DIR"]).glob("feature-store/*/index.sqlite"):
        try:
            return sqlite3.connect(index).execute("SELECT COUNT(*) FROM images").fetchone()[0]
        except sqlite3.Error:
            return 0
    return 0

def watch():
    while not stored():
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL) if event == "kill" else trainer.request_stop()

if rank == "1" and event != "none":
    threading.Thread(target=watch, daemon=True).start()
try:
    result = trainer.fit()
    sys.stdout.write(f"process {rank}: {result.features.computed} + {result.features.reused}\\n")
except BreedclfError as error:
    sys.stdout.write(f"process {rank}: {type(error).__name__}: {error}\\n")
    time.sleep(1)  # the other process says so, too, before torchrun ends it
    sys.exit(1)
"""


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("shared") / "patterns", counts={"train": 40, "valid": 4})


def start(node: list[str], settings: dict[str, Any], cache: Path, event: str = "none") -> subprocess.Popen[str]:
    """Start torchrun on one machine, with a cache folder of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", *node]
    environment = {**os.environ, "BREEDCLF_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"}
    program = cache.with_suffix(".py")
    program.write_text(PROGRAM)
    return subprocess.Popen(
        [*command, str(program), json.dumps({**settings, **SETTINGS}), event],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(started: subprocess.Popen[str]) -> list[str]:
    out, _ = started.communicate(timeout=240)
    return sorted(line for line in out.splitlines() if line.startswith("process"))


def rows_in(cache: Path) -> list[int]:
    """The rows that were written to each shard."""
    (index,) = cache.glob("feature-store/*/index.sqlite")
    with sqlite3.connect(index) as database:
        return [rows for (rows,) in database.execute("SELECT rows FROM shards ORDER BY id")]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


TWO = ["--standalone", "--nproc_per_node", "2"]


def test_a_process_that_is_killed_loses_its_last_images_and_the_next_run_computes_the_rest(
    patterns: Path, tmp_path: Path
) -> None:
    settings, cache = {"data": str(patterns), "output": str(tmp_path / "out")}, tmp_path / "cache"
    killed = start(TWO, settings, cache, "kill")
    said(killed)
    assert killed.returncode != 0
    stored = sum(rows_in(cache))
    assert 0 < stored < IMAGES
    assert said(start(TWO, settings, cache)) == [f"process {rank}: {IMAGES - stored} + {stored}" for rank in (0, 1)]
    rows = rows_in(cache)
    assert sum(rows) == IMAGES
    assert len(rows) == 2, "each process has a shard of its own"
    alone = fit(TrainingConfig(data=patterns, output=tmp_path / "alone", cache_dir=tmp_path / "other", **SETTINGS))
    assert alone.features is not None
    assert alone.features.computed == IMAGES
    warm = fit(TrainingConfig(data=patterns, output=tmp_path / "warm", cache_dir=cache, **SETTINGS))
    assert warm.features is not None
    assert warm.features.reused == IMAGES
    one, other = weights(alone.output), weights(warm.output)
    assert all(torch.equal(one[key], other[key]) for key in one), "features are those of one process, to the bit"


def test_machines_without_a_common_folder_send_each_other_what_they_compute(patterns: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    settings = {"data": str(patterns), "output": str(tmp_path / "out")}
    machine = ["--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "localhost", "--master_port", port]
    caches = [tmp_path / f"cache-{rank}" for rank in range(2)]
    machines = [start([*machine, "--node_rank", str(rank)], settings, caches[rank]) for rank in range(2)]
    assert [line for each in machines for line in said(each)] == [f"process {rank}: {IMAGES} + 0" for rank in (0, 1)]
    assert [rows_in(cache) for cache in caches] == [[IMAGES], [IMAGES]]
    heads = [
        weights(fit(TrainingConfig(data=patterns, output=cache / "out", cache_dir=cache, **SETTINGS)).output)
        for cache in caches
    ]
    assert all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])


def test_a_stop_request_to_one_process_ends_all_of_them(patterns: Path, tmp_path: Path) -> None:
    settings, cache = {"data": str(patterns), "output": str(tmp_path / "out")}, tmp_path / "cache"
    stopped = "the run was stopped before its first step, so there is no model"
    assert said(start(TWO, settings, cache, "stop")) == [
        f"process {rank}: TrainingStoppedError: {stopped}" for rank in (0, 1)
    ]
    assert rows_in(cache), "what was computed is stored"
