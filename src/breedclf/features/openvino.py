"""OpenVINO for the frozen part on CPUs: a network made in a process of its own, computed by OpenVINO's threads here."""

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn

from breedclf import errors
from breedclf.config import TrainingConfig
from breedclf.data.image_folder import ImageFolder, Split
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError, BreedclfError
from breedclf.features.extraction import fingerprint_of
from breedclf.models.network import StateDict
from breedclf.runtime.device import available_cores
from breedclf.runtime.extras import require_extra
from breedclf.runtime.forking import OPENVINO, check_usable, mark_in_use
from breedclf.runtime.telemetry import opt_out

if TYPE_CHECKING:
    import openvino

log: logging.Logger = logging.getLogger(__name__)

CALIBRATION_IMAGES = 300
STATE_FILE, ORDER_FILE, MODEL_FILE = "state.safetensors", "order.json", "model.xml"
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_MAKE_SECONDS = 3600.0


class OpenVinoBackbone(nn.Module):
    """Normalised pictures [N, 3, H, W] to features float32 [N, D], computed by OpenVINO's own threads."""

    def __init__(self, model: openvino.Model | Path, precision: str) -> None:
        super().__init__()
        self._compiled = compiled(model, precision)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._compiled(pictures.float().contiguous().numpy())[0])


def openvino_backbone(
    config: TrainingConfig, state: StateDict, preprocessing: Preprocessing, precision: str
) -> OpenVinoBackbone:
    """The frozen part of a training; for int8 it is calibrated on training pictures and tried on others.

    Raises:
        MissingExtraError: OpenVINO isn't installed.
        WeightsError: not all weights are numbers.
        DataError: there are too few pictures to tell what int8 costs.
        ParityError: int8 costs more accuracy than is allowed.
    """
    need_openvino(precision)
    order = {"preprocessing": preprocessing.model_dump(mode="json"), "precision": precision}
    with tempfile.TemporaryDirectory(prefix="breedclf-openvino-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / STATE_FILE)
        (folder / ORDER_FILE).write_text(json.dumps(order | {"config": config.to_dict()}), encoding="utf-8")
        told = made_elsewhere("breedclf.features.openvino_maker", str(folder))
        if told:
            log.info("%s", told)
        return OpenVinoBackbone(folder / MODEL_FILE, precision)


def made_elsewhere(module: str, *arguments: str) -> str:
    """Run a module that makes OpenVINO's files, in a process of its own; the last line that it printed.

    What makes them patches torch, and brings threads of its own, neither of which a training or a server should have.

    Raises:
        BreedclfError: what `told_errors` of that process reported, as the class that it was there.
    """
    words = [sys.executable, "-m", module, *arguments]
    kept, ours = os.pipe()  # the other process ends when nobody holds our end any more
    try:
        done = subprocess.run(words, stdin=kept, capture_output=True, text=True, timeout=_MAKE_SECONDS, check=False)
    finally:
        os.close(kept)
        os.close(ours)
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode:
        raise _error_of(last, done.stderr)
    return last


def end_with_whoever_asked() -> None:
    """In the process of `made_elsewhere`: end as soon as the one that asked is gone."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever sent
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def told_error(error: BreedclfError) -> int:
    """Tell an error to the process that asked, as the last line on stdout; the exit code."""
    sys.stdout.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
    return error.exit_code


def engine_name(config: TrainingConfig, folder: ImageFolder, precision: str) -> str:
    """What a feature from this engine is remembered by; in int8 also what that was calibrated and tried on."""
    need_openvino(precision)
    parts = [f"openvino-{importlib.metadata.version('openvino')}"]
    if precision == "int8":
        parts.append(f"nncf-{importlib.metadata.version('nncf')}")
        parts += [fingerprint_of(sample_of(folder.split(name)).paths) for name in ("train", "valid")]
        parts.append(str(config.max_accuracy_drop))
    return "-".join(parts)


def need_openvino(precision: str) -> None:
    """See that what computes in that precision is installed.

    Raises:
        MissingExtraError: it isn't.
        ForkError: this process was forked from one that used OpenVINO.
    """
    check_usable(OPENVINO)
    packages = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    require_extra(*packages, purpose="engine=openvino", install="'breedclf[openvino]'")


def compiled(model: openvino.Model | Path, precision: str) -> Callable[[Any], Any]:
    """The model for this CPU, on all cores that this process may use; called with an array, it gives its outputs.

    Raises:
        ForkError: this process was forked from one that used OpenVINO; the result raises it, too.
    """
    check_usable(OPENVINO)
    mark_in_use(OPENVINO)
    opt_out()
    import openvino

    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": available_cores(),
    }
    network = openvino.Core().compile_model(model, "CPU", hints)

    def outputs(inputs: Any) -> Any:
        check_usable(OPENVINO)
        return network(inputs)

    return outputs


def sample_of(split: Split) -> Split:
    """At most `CALIBRATION_IMAGES`, evenly from a split that is ordered by class, so that all classes are met."""
    every = max(1, -(-len(split) // CALIBRATION_IMAGES))
    return Split(split.name, split.paths[::every], split.targets[::every])


def _error_of(last: str, log_text: str) -> BreedclfError:
    try:
        document = json.loads(last)
        error: BreedclfError = getattr(errors, document["error"])(document["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return ArtifactError(f"OpenVINO can't make its files: {log_text.strip()[-600:]}")
    return error
