"""Forks of a process that has computed go on, or say at once why they can't; every form in real processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from breedclf.training.fit import FitResult
from tests.integration.conftest import RESNET

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")

HELPERS = """
import json, multiprocessing, os, signal, sys, threading, time, traceback
from pathlib import Path
import torch
from breedclf import Classifier, Trainer, TrainingConfig
from breedclf.errors import ForkError

torch.set_num_threads(2)
given = json.loads(sys.argv[1])
images = sorted(str(path) for path in Path(given["data"]).rglob("*.png"))[:4]

def fit(name, **settings):
    folder = Path(given["folder"]) / name
    config = TrainingConfig(
        data=given["data"], output=folder / "out", cache_dir=folder / "cache", epochs=1, **given["settings"] | settings
    )
    return Trainer(config).fit()

def forked(work):
    began, pid = time.monotonic(), os.fork()
    if pid:
        return pid, began
    try:
        work()
        told = f"ok on {torch.get_num_threads()}"
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
    Path(given["folder"], f"told-{os.getpid()}").write_text(told)
    os._exit(0)

def told_by(child, seconds=45):
    pid, began = child
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() - began > seconds:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hangs"
        time.sleep(0.02)
    return Path(given["folder"], f"told-{pid}").read_text()

def report(children):
    print("told", json.dumps({name: told_by(child) for name, child in children.items()}), flush=True)
    os._exit(0)
"""

WORKING = """
classifier = Classifier(given["model"])
expected = classifier.predict(images)

def predict():
    assert [found.best.label for found in classifier.predict(images)] == [found.best.label for found in expected]

def in_a_thread(work):
    found = []
    def run():
        try:
            work()
            found.append("ok")
        except BaseException as error:
            found.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == ["ok"], found

def again():
    predict()
    told = told_by(forked(predict))
    assert told.startswith("ok"), told

def by_pool():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert len(pool.apply_async(classifier.predict, [images]).get(30)) == len(images)

children = {
    "predict after predict": forked(predict),
    "fit after predict": forked(lambda: fit("one")),
    "fit with loader processes after predict": forked(lambda: fit("two", workers=1)),
    "a fork of a fork": forked(again),
    "a pool": forked(by_pool),
}
told = {name: told_by(child) for name, child in children.items()}
children = {}
fit("here")
children["predict after fit"] = forked(predict)
children["fit after fit"] = forked(lambda: fit("three"))
children["in a thread"] = forked(lambda: in_a_thread(predict))
in_a_thread(lambda: children.update({"forked by a thread": forked(predict)}))
told |= {name: told_by(child) for name, child in children.items()}
predict()
told["the parent afterwards"] = f"ok on {torch.get_num_threads()}"
print("told", json.dumps(told), flush=True)
"""

FORMS = (
    "predict after predict",
    "fit after predict",
    "fit with loader processes after predict",
    "a fork of a fork",
    "a pool",
    "predict after fit",
    "fit after fit",
    "in a thread",
    "forked by a thread",
    "the parent afterwards",
)

OPENVINO = """
import numpy as np
import openvino
from openvino import opset13 as ops
from breedclf.features.openvino import compiled, need_openvino

parameter = ops.parameter([-1, 4], np.float32)
model = openvino.Model([ops.relu(parameter)], [parameter])
network = compiled(model, "fp32")
assert network(np.ones((2, 4), np.float32))[0].shape == (2, 4)
report({
    "compile": forked(lambda: compiled(model, "fp32")),
    "compute": forked(lambda: network(np.ones((2, 4), np.float32))),
    "begin a training": forked(lambda: fit("openvino", engine="openvino")),
    "compute by torch": forked(lambda: Classifier(given["model"]).predict(images)),
})
"""

TRAINED_WITH_THREADS = """
from torch._subclasses import FakeTensorMode
with FakeTensorMode():  # torch.compile does so; gradients are computed by threads from then on
    torch.ones(1)
torch.ones(1, requires_grad=True).sum().backward()
trainer = Trainer(TrainingConfig(data=given["data"], **given["settings"]))
report({
    "fit": forked(lambda: fit("one")),
    "find a learning rate": forked(lambda: trainer.find_learning_rate()),
    "predict": forked(lambda: Classifier(given["model"]).predict(images)),
})
"""

ON_A_GPU = """
from breedclf.runtime.device import compute_for
from breedclf.runtime.forking import mark_in_use
mark_in_use("cuda")  # what a process with a GPU remembers

def say(told):
    raise ForkError(told.removeprefix("ForkError: "))

report({
    "auto": forked(lambda: compute_for("auto", "auto")),
    "cuda": forked(lambda: compute_for("cuda", "auto")),
    "cpu": forked(lambda: compute_for("cpu", "auto")),
    "cuda, a fork of a fork": forked(lambda: say(told_by(forked(lambda: compute_for("cuda", "auto"))))),
})
"""


def told_of(program: str, trained: tuple[FitResult, Path], folder: Path) -> dict[str, str]:
    """What each child of that program told, by its name."""
    result, data = trained
    settings: dict[str, Any] = {**RESNET, "device": "cpu", "precision": "fp32"}
    given = {"model": str(result.artifact), "data": str(data), "folder": str(folder), "settings": settings}
    done = subprocess.run(
        [sys.executable, "-c", HELPERS + program, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    assert lines, done.stderr
    found: dict[str, str] = json.loads(lines[-1].removeprefix("told "))
    return found


@pytest.fixture(scope="module")
def working(trained: tuple[FitResult, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return told_of(WORKING, trained, tmp_path_factory.mktemp("working"))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_fork_goes_on_with_all_its_threads(working: dict[str, str], form: str) -> None:
    assert working[form] == "ok on 2"


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="the extra openvino isn't installed")
def test_openvino_is_refused_in_a_fork_at_once(trained: tuple[FitResult, Path], tmp_path: Path) -> None:
    told = told_of(OPENVINO, trained, tmp_path)
    assert told.pop("compute by torch") == "ok on 2"
    assert len(told) == 3
    for form, words in told.items():
        assert words.startswith("ForkError: OpenVINO was already in use when this process was forked"), form
        assert "get_context('spawn')" in words, form


def test_a_fork_that_cannot_train_says_so_before_it_begins(trained: tuple[FitResult, Path], tmp_path: Path) -> None:
    told = told_of(TRAINED_WITH_THREADS, trained, tmp_path)
    assert told.pop("predict") == "ok on 2"
    for form, words in told.items():
        assert words.startswith("ForkError: torch can't train in this process"), form
    assert not (tmp_path / "one").exists()


def test_a_gpu_is_refused_in_a_fork_of_a_process_that_used_one(trained: tuple[FitResult, Path], tmp_path: Path) -> None:
    told = told_of(ON_A_GPU, trained, tmp_path)
    assert told["cpu"] == "ok on 2"
    for form in ("auto", "cuda", "cuda, a fork of a fork"):
        assert told[form].startswith("ForkError: cuda was already in use when this process was forked"), form
