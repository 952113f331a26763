"""OpenVINO for the frozen backbone on CPUs: converted in another process, run by OpenVINO's threads here."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn

from breedclf import errors
from breedclf.config import TrainingConfig
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import Split
from breedclf.data.training_data import TrainingData
from breedclf.errors import ArtifactError, BreedclfError, ConfigError
from breedclf.features.digests import digests_of
from breedclf.models.backbones.backbone import StateDict
from breedclf.runtime.extras import require_extra
from breedclf.runtime.forking import OPENVINO, check_usable, mark_in_use
from breedclf.runtime.machine import available_cores
from breedclf.runtime.telemetry import opt_out

if TYPE_CHECKING:
    import openvino

log: logging.Logger = logging.getLogger(__name__)

CALIBRATION_IMAGES = 300
STATE_FILE, ORDER_FILE, MODEL_FILE = "state.safetensors", "order.json", "model.xml"
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_MAKE_SECONDS = 3600.0


class OpenVinoBackbone(nn.Module):
    """Normalized images [N, 3, H, W] to features float32 [N, D], computed by OpenVINO's own threads."""

    def __init__(self, model: openvino.Model | Path, precision: str) -> None:
        super().__init__()
        self._compiled = compiled(model, precision)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._compiled(images.float().contiguous().numpy())[0])


def openvino_backbone(
    config: TrainingConfig, state: StateDict, preprocessing: Preprocessing, precision: str
) -> OpenVinoBackbone:
    """The frozen backbone of a training run; int8 is calibrated on training images and tested on validation images.

    Raises:
        MissingExtraError: OpenVINO isn't installed.
        WeightsError: weights are NaN or infinite.
        DataError: there are too few images to measure the accuracy of int8.
        ParityError: int8 costs more accuracy than `max_accuracy_drop`.
    """
    need_openvino(precision)
    order = {"preprocessing": preprocessing.model_dump(mode="json"), "precision": precision}
    with tempfile.TemporaryDirectory(prefix="breedclf-openvino-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / STATE_FILE)
        (folder / ORDER_FILE).write_text(json.dumps(order | {"config": config.to_dict()}), encoding="utf-8")
        message = made_elsewhere("breedclf.features.openvino_maker", str(folder))
        if message:
            log.info("%s", message)
        return OpenVinoBackbone(folder / MODEL_FILE, precision)


def made_elsewhere(module: str, *arguments: str) -> str:
    """Run a module that writes OpenVINO files in a process of its own; returns the last line that it printed.

    The conversion patches torch and starts threads, which training runs and servers shouldn't have.

    Raises:
        BreedclfError: an error that the process reported by `told_error`, with its class.
    """
    words = [sys.executable, "-m", module, *arguments]
    stdin, ours = os.pipe()  # the other process ends when our end is closed
    try:
        done = subprocess.run(words, stdin=stdin, capture_output=True, text=True, timeout=_MAKE_SECONDS, check=False)
    finally:
        os.close(stdin)
        os.close(ours)
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode:
        raise _error_of(last, done.stderr)
    return last


def end_with_whoever_asked() -> None:
    """In a process started by `made_elsewhere`: exit as soon as the parent process ends."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # the parent sends nothing
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def told_error(error: BreedclfError) -> int:
    """Report an error to the parent process, as the last line on stdout; returns the exit code."""
    sys.stdout.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
    return error.exit_code


def engine_name(config: TrainingConfig, data: TrainingData, precision: str) -> str:
    """The engine's name in cache keys; for int8 it includes the images used for calibration and test.

    Raises:
        ConfigError: int8 can't be calibrated on images that the program gave.
        MissingExtraError: OpenVINO isn't installed.
    """
    if precision == "int8" and data.kind is not None:
        raise ConfigError(
            "precision=int8 is calibrated in another process, which can't read images=: write them as an image folder "
            "with write_image_folder(images, FOLDER), and use TrainingConfig(data=FOLDER)"
        )
    samples = (sample_of(data.train), sample_of(data.valid)) if precision == "int8" else ()
    need_openvino(precision)
    parts = [f"openvino-{importlib.metadata.version('openvino')}"]
    if samples:
        parts.append(f"nncf-{importlib.metadata.version('nncf')}")
        parts += [digests_of(sample.images).fingerprint for sample in samples]
        parts.append(str(config.max_accuracy_drop))
    return "-".join(parts)


def need_openvino(precision: str) -> None:
    """Check that the packages for this precision are installed.

    Raises:
        MissingExtraError: one is missing.
        ForkError: this process was forked from one that used OpenVINO.
    """
    check_usable(OPENVINO)
    packages = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    require_extra(*packages, purpose="engine=openvino", install="'breedclf[openvino]'")


@cache
def openvino_core() -> openvino.Core:
    """OpenVINO's core of this process, which is never deleted.

    Its CPU plugin gives the thread that loads it another stack for signal handlers. If a core is deleted before a later
    one, that thread is left with a stack that was freed, and the next signal ends the process.
    """
    opt_out()
    import openvino

    return openvino.Core()


def compiled(model: openvino.Model | Path, precision: str) -> Callable[[Any], Any]:
    """Compile the model for this CPU, on all cores of this process; the result maps an array to the outputs.

    Raises:
        ForkError: this process was forked from one that used OpenVINO; the result raises it too.
    """
    check_usable(OPENVINO)
    mark_in_use(OPENVINO)
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": available_cores(),
    }
    network = openvino_core().compile_model(model, "CPU", hints)

    def outputs(inputs: Any) -> Any:
        check_usable(OPENVINO)
        return network(inputs)

    return outputs


def sample_of(split: Split) -> Split:
    """At most `CALIBRATION_IMAGES` images, evenly spaced over a split, so that all classes are included."""
    every = max(1, -(-len(split) // CALIBRATION_IMAGES))
    return split.chosen(range(0, len(split), every))


def _error_of(last: str, log_text: str) -> BreedclfError:
    try:
        document = json.loads(last)
        error: BreedclfError = getattr(errors, document["error"])(document["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return ArtifactError(f"OpenVINO can't convert the model: {log_text.strip()[-600:]}")
    return error
