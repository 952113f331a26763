"""No package of any extra reports to anyone: each one's switch is set before its first import, and nothing connects."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from breedclf.runtime.telemetry import SWITCHES

SWITCH_OF = {
    "mlflow": "MLFLOW_DISABLE_TELEMETRY",
    "onnxruntime": "ORT_DISABLE_TELEMETRY",
    "ray": "RAY_USAGE_STATS_ENABLED",
    "openvino": None,  # asks the package openvino_telemetry, which isn't found
    "nncf": None,  # the same
    "sagemaker": None,  # a part of each session's settings, see the tuner
    "optuna": None,  # the rest has no telemetry
    "onnx": None,
    "onnxscript": None,
    "tensorboard": None,
    "torch": None,
    "torchvision": None,
}

PROBE = """
import json, os, sys, threading, time
events = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "os.fork", "os.posix_spawn", "subprocess.Popen")
def watch(event, arguments):
    if event in WATCHED and not "ldconfig" in str(arguments) and not "uname" in str(arguments):
        events.append(f"{event} {arguments}"[:200])
sys.addaudithook(watch)
"""

CONVERT = """
import torch, openvino
network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
converted = openvino.convert_model(network.eval(), example_input=torch.zeros(1, 3, 8, 8), input=[1, 3, 8, 8])
"""

REST = """
import numpy as np
import nncf
nncf.quantize(converted, nncf.Dataset([np.zeros((1, 3, 8, 8), np.float32)]), subset_size=1)
import onnx, onnxruntime, onnxscript
from onnx import TensorProto, helper
of = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [of("x")], [of("y")])
relu = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
relu.ir_version = 9
onnxruntime.InferenceSession(relu.SerializeToString(), providers=["CPUExecutionProvider"])
import mlflow
from mlflow.tracking import MlflowClient
client = MlflowClient("file:" + os.getcwd() + "/runs")
run = client.create_run(client.create_experiment("x"))
client.log_metric(run.info.run_id, "loss", 1.0)
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
optuna.create_study().optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
from torch.utils.tensorboard import SummaryWriter
SummaryWriter("board").add_scalar("loss", 1.0)
from sagemaker.core import image_uris
image_uris.retrieve("pytorch", "eu-west-1", version="2.5", py_version="py311", instance_type="ml.m5.large",
                    image_scope="training")
"""

END = """
time.sleep(1)
print(json.dumps(events))
"""


def connections_of(script: str, folder: Path) -> list[str]:
    """The connections and processes that a script starts, without the variables that reveal a test to packages."""
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    environment["MLFLOW_ALLOW_FILE_STORE"] = "true"
    words = [sys.executable, "-c", PROBE + script + END]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_nothing_connects_in_all_extras(tmp_path: Path) -> None:
    needed = [name for name in SWITCH_OF if name != "ray"]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    asked = (
        "from breedclf.runtime.extras import require_extra\nrequire_extra('openvino', purpose='a test', install='it')\n"
    )
    assert connections_of(asked + CONVERT + REST, tmp_path) == []
    assert not (tmp_path / "intel").exists()


def test_without_the_switch_openvino_would_report(tmp_path: Path) -> None:
    try:  # by its metadata: where a test before this one has switched it off, it can't be found any more
        importlib.metadata.version("openvino-telemetry")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openvino_telemetry isn't installed")
    found = connections_of(CONVERT, tmp_path)
    assert any(event.startswith(("os.fork", "socket")) for event in found), found


def test_every_switch_belongs_to_a_package_and_the_users_own_word_counts() -> None:
    assert {switch for switch in SWITCH_OF.values() if switch} <= set(SWITCHES)
    script = "from breedclf.runtime.telemetry import opt_out; opt_out(); opt_out(); import os, sys, json;"
    script += "print(json.dumps([dict(os.environ), sum(type(each).__name__ == '_NotFound' for each in sys.meta_path)]))"
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "false"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    variables, finders = json.loads(done.stdout)
    assert finders == 1
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "false"
    assert {name: variables[name] for name in SWITCHES if name != "MLFLOW_DISABLE_TELEMETRY"} == {
        name: value for name, value in SWITCHES.items() if name != "MLFLOW_DISABLE_TELEMETRY"
    }
