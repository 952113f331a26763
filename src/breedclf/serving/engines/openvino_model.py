"""`python -m breedclf.serving.engines.openvino_model`: converts a model directory for OpenVINO.

This runs in a process of its own, since torch's and OpenVINO's threads would slow each other down.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from breedclf.config import Settings
from breedclf.data.images import ImageLike, pillow_image
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import Split
from breedclf.data.tables.places import place_of
from breedclf.errors import BreedclfError
from breedclf.evaluation.images import images_to_evaluate
from breedclf.features.openvino import MODEL_FILE, compiled, end_with_whoever_asked, sample_of, told_error
from breedclf.features.openvino_maker import as_openvino, check_accuracy, quantized
from breedclf.inference.model_directory import ModelCard, read_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.runtime.telemetry import opt_out
from breedclf.serving.engines.openvino import ABOUT_FILE
from breedclf.serving.parity import sample_images

if TYPE_CHECKING:
    import openvino


class About(Settings):
    """Metadata of the files: the expected probabilities of the sample images, and the accuracy of int8.

    `expected` are torch's fp32 probabilities; for int8 its own, since int8 is validated by accuracy.
    """

    expected: tuple[tuple[float, ...], ...]
    accuracy: float | None = None
    accuracy_before: float | None = None
    pictures: int = 0


class WholeModel(nn.Module):
    """A network with normalization and softmax: uint8 [N, 3, crop, crop] to probabilities [N, C]."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.scale = nn.Buffer(torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self.shift = nn.Buffer(torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network((images.float() - self.shift) / self.scale), dim=1)


def make(model: Path, target: Path, *, calibration: Path | None, max_accuracy_drop: float) -> About:
    """Write OpenVINO's files to `target`: in fp32, or in int8 if there are calibration images.

    Raises:
        ArtifactError: there is no model.
        ConfigError: OpenVINO can't convert the network.
        DataError: there are too few images to measure the loss of accuracy.
        ParityError: int8 loses too much accuracy.
    """
    opt_out()
    import openvino

    card, state = read_artifact(model)
    network = find_backbone(card.architecture).network_from(state)
    whole = WholeModel(network, card.preprocessing).eval()
    crop = card.preprocessing.crop_px
    samples = np.stack([_input(card, image, name) for name, image in sample_images()])
    with torch.inference_mode():
        expected = whole(torch.from_numpy(samples)).numpy()
    plain = as_openvino(whole, torch.zeros(1, 3, crop, crop, dtype=torch.uint8), card.architecture)
    if calibration is None:
        written, about = plain, About(expected=_rows(expected))
    else:
        split = images_to_evaluate(calibration, "valid", card.labels, card.training, place_of(calibration))
        written, about = _in_int8(card, plain, split, samples, max_accuracy_drop)
    openvino.save_model(written, target / MODEL_FILE, compress_to_fp16=False)
    (target / ABOUT_FILE).write_text(about.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return about


def _in_int8(
    card: ModelCard, plain: openvino.Model, split: Split, samples: NDArray[np.uint8], max_drop: float
) -> tuple[openvino.Model, About]:
    check_accuracy(1.0, 1.0, images=len(split), max_drop=max_drop)
    sample = sample_of(split)
    in_int8 = quantized(plain, range(len(sample)), lambda index: _input_of(card, sample, index)[None])
    before, after = (_accuracy(card, each, split) for each in (plain, in_int8))
    check_accuracy(before, after, images=len(split), max_drop=max_drop)
    own = compiled(in_int8, "int8")(samples)[0]
    return in_int8, About(expected=_rows(own), accuracy=after, accuracy_before=before, pictures=len(split))


def _accuracy(card: ModelCard, model: openvino.Model, split: Split) -> float:
    network = compiled(model, "fp32")
    right = 0
    for start in range(0, len(split), 16):
        inputs = np.stack([_input_of(card, split, index) for index in range(start, min(start + 16, len(split)))])
        right += int((network(inputs)[0].argmax(1) == np.array(split.targets[start : start + 16])).sum())
    return right / len(split)


def _input_of(card: ModelCard, split: Split, index: int) -> NDArray[np.uint8]:
    return _input(card, split.images.read(index), split.images.name(index))


def _input(card: ModelCard, image: ImageLike, name: str) -> NDArray[np.uint8]:
    view = card.preprocessing.view(pillow_image(image, name, color=card.preprocessing.color), 0)
    found: NDArray[np.uint8] = view.numpy()
    return found


def _rows(probabilities: NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in probabilities)


def main() -> int:
    """Create the files; an error is printed as the last line on stdout, as JSON."""
    end_with_whoever_asked()
    parser = argparse.ArgumentParser(prog="python -m breedclf.serving.engines.openvino_model")
    parser.add_argument("model", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--max-accuracy-drop", type=float, default=0.01)
    arguments = parser.parse_args()
    try:
        make(
            arguments.model,
            arguments.target,
            calibration=arguments.calibration,
            max_accuracy_drop=arguments.max_accuracy_drop,
        )
    except BreedclfError as error:
        return told_error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
