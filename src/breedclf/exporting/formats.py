"""Export formats: how each is written, and how to run the file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from breedclf.config import nearest
from breedclf.errors import ConfigError, ExportError
from breedclf.files.model_folder import CARD_FILE
from breedclf.inference.model_directory import ModelCard

INPUT, OUTPUT = "pictures", "probabilities"  # names in the files, which existing users rely on
OUTPUTS = (OUTPUT, "distance", "known")
"""The names of all outputs; a file without a feature bank has only the first one."""
METADATA_FILE = "metadata.json"
_RUNNER = Path(__file__).with_name("onnx_runner.py")
_MAX_RUN_SECONDS = 600.0


class Outputs(NamedTuple):
    """The results of a file for N images: float32 probabilities [N, C] and, with a bank, distances [N] and bool [N]."""

    probabilities: NDArray[np.float32]
    distance: NDArray[np.float32] | None = None
    known: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Format:
    """An export format.

    `write` writes a traced network to a file; `run` runs the file on uint8 images [N, 3, H, W] and returns the N + 1
    results of all images in one batch, and of the first image alone. `named_outputs` is whether the file's users get
    outputs by their names, so that more of them can't be mistaken.
    """

    name: str
    suffix: str
    packages: tuple[str, ...]
    write: Callable[[torch.export.ExportedProgram, ModelCard, Path], None]
    run: Callable[[Path, NDArray[np.uint8]], Outputs]
    named_outputs: bool


def format_named(name: str) -> Format:
    """Look up a format by name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in FORMATS:
        raise ConfigError(f"format={name!r} is not an export format: {nearest(name, FORMATS)}")
    return FORMATS[name]


def metadata(card: ModelCard, *, with_bank: bool = False) -> dict[str, str]:
    """The metadata of an exported file, which has the model's feature bank or not; values but text are JSON."""
    preprocessing, bank, calibration = card.preprocessing, card.feature_bank, card.calibration
    return {
        "class_names": json.dumps(card.class_names, ensure_ascii=False),
        "labels": json.dumps(card.labels, ensure_ascii=False),
        "preprocessing": json.dumps(
            {
                "resize_px": preprocessing.resize_px,
                "crop_px": preprocessing.crop_px,
                "interpolation": preprocessing.interpolation,
                "color": preprocessing.color,
                "normalisation": "inside",
            }
        ),
        "min_confidence": json.dumps(card.min_confidence),
        "temperature": json.dumps(None if calibration is None else calibration.temperature),
        "feature_bank": "none" if bank is None else "inside" if with_bank else "not included",
        "threshold": json.dumps(None if bank is None else bank.threshold),
        "neighbor": json.dumps(None if bank is None else bank.neighbor),
        "architecture": card.architecture,
        "weights_sha256": card.weights_sha256,
        "breedclf_version": card.breedclf_version,
    }


def _write_onnx(program: torch.export.ExportedProgram, card: ModelCard, path: Path) -> None:
    names = _outputs_of(program)
    written = torch.onnx.export(
        program, dynamo=True, input_names=[INPUT], output_names=names, external_data=False, verbose=False
    )
    assert written is not None
    written.model.metadata_props.update(metadata(card, with_bank=len(names) > 1))
    written.save(path, external_data=False)


def _outputs_of(program: torch.export.ExportedProgram) -> list[str]:
    return list(OUTPUTS[: len(program.graph_signature.user_outputs)])


def _run_onnx(path: Path, images: NDArray[np.uint8]) -> Outputs:
    with tempfile.TemporaryDirectory(prefix="breedclf-onnx-") as folder:
        inputs, outputs = Path(folder) / "inputs.npy", Path(folder) / "outputs.npz"
        np.save(inputs, images)
        command = [sys.executable, "-P", str(_RUNNER), str(path), str(inputs), str(outputs)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_MAX_RUN_SECONDS)
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
            raise ExportError(f"onnxruntime can't run the exported model: {lines[-1]}") from error
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"onnxruntime took more than {_MAX_RUN_SECONDS:g} s for {len(images)} images") from error
        with np.load(outputs) as found:
            return Outputs(**found)


def _write_torch(program: torch.export.ExportedProgram, card: ModelCard, path: Path) -> None:
    # Write to memory first: on a full disk, torch's own file writer aborts the process.
    file = BytesIO()
    about = metadata(card, with_bank=len(_outputs_of(program)) > 1)
    extra_files = {CARD_FILE: card.model_dump_json(indent=2), METADATA_FILE: json.dumps(about, indent=2)}
    torch.export.save(program, file, extra_files=extra_files)
    path.write_bytes(file.getbuffer())


def _run_torch(path: Path, images: NDArray[np.uint8]) -> Outputs:
    network = torch.export.load(path).module()
    batch = torch.from_numpy(images)
    with torch.no_grad():
        found = [network(batch), network(batch[:1])]
    parts = [each if isinstance(each, tuple) else (each,) for each in found]
    return Outputs(*(torch.cat(each).numpy() for each in zip(*parts, strict=True)))


FORMATS = {
    "onnx": Format("onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _run_onnx, True),
    "torch": Format("torch", ".pt2", (), _write_torch, _run_torch, False),
}
