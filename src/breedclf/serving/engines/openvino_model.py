"""`python -m breedclf.serving.engines.openvino_model`: converts a model directory for OpenVINO.

This runs in a process of its own, since torch's and OpenVINO's threads would slow each other down.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from breedclf.config import Settings
from breedclf.data.images import ImageLike, pillow_image
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import Split
from breedclf.data.tables.places import place_of
from breedclf.errors import BreedclfError, ParityError
from breedclf.evaluation.images import images_to_evaluate
from breedclf.features.openvino import MODEL_FILE, compiled, end_with_whoever_asked, sample_of, told_error
from breedclf.features.openvino_maker import as_openvino, check_accuracy, quantized
from breedclf.inference.bank_module import BankModule
from breedclf.inference.feature_bank import FeatureBank
from breedclf.inference.model_directory import ModelCard, read_artifact, read_bank
from breedclf.models.backbones.backbone import find_backbone
from breedclf.runtime.telemetry import opt_out
from breedclf.serving.engines.openvino import ABOUT_FILE, BANK_MODEL_FILE
from breedclf.serving.parity import sample_images

if TYPE_CHECKING:
    import openvino

MOST_KNOWN_CHANGED = 0.05


class About(Settings):
    """Metadata of the files: the expected results of the sample images, and the accuracy of int8.

    `expected` are torch's fp32 probabilities, and `distances` those to the feature bank, if the model has one; for int8
    its own, since int8 is validated by accuracy. `known_changed` is the share of the valid images, 0 to 1, that are
    known by distance only without int8 or only with it.
    """

    expected: tuple[tuple[float, ...], ...]
    distances: tuple[float, ...] | None = None
    accuracy: float | None = None
    accuracy_before: float | None = None
    known_changed: float | None = None
    pictures: int = 0


class WholeModel(nn.Module):
    """A network with normalization and softmax: uint8 [N, 3, crop, crop] to probabilities [N, C] and features [N, D].

    `head` is the path of the head, whose inputs are the features.
    """

    def __init__(self, network: nn.Module, head: str, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.head: nn.Module = network.get_submodule(head)
        network.set_submodule(head, nn.Identity())
        self.network = network
        self.scale = nn.Buffer(torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self.shift = nn.Buffer(torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.network((images.float() - self.shift) / self.scale)
        return torch.softmax(self.head(features), dim=1), features


def make(model: Path, target: Path, *, calibration: Path | None, max_accuracy_drop: float) -> About:
    """Write OpenVINO's files to `target`: in fp32, or in int8 if there are calibration images.

    Raises:
        ArtifactError: there is no model.
        ConfigError: OpenVINO can't convert the network.
        DataError: there are too few images to measure the loss of accuracy.
        ParityError: int8 loses too much accuracy, or changes for too many images whether they are known.
    """
    opt_out()
    import openvino

    card, state = read_artifact(model)
    backbone = find_backbone(card.architecture)
    bank = read_bank(model, card, backbone.features)
    whole = WholeModel(backbone.network_from(state), backbone.head, card.preprocessing).eval()
    crop = card.preprocessing.crop_px
    samples = np.stack([_input(card, image, name) for name, image in sample_images()])
    plain = as_openvino(whole, torch.zeros(1, 3, crop, crop, dtype=torch.uint8), card.architecture)
    if calibration is None:
        with torch.inference_mode():
            probabilities, features = whole(torch.from_numpy(samples))
        written, about = plain, About(expected=_rows(probabilities), distances=_distances(bank, features))
    else:
        split = images_to_evaluate(calibration, "valid", card.labels, card.training, place_of(calibration))
        written, about = _in_int8(card, bank, plain, split, samples, max_accuracy_drop)
    openvino.save_model(written, target / MODEL_FILE, compress_to_fp16=False)
    if bank is not None:
        distances = as_openvino(BankModule(bank), torch.zeros(1, backbone.features), card.architecture)
        openvino.save_model(distances, target / BANK_MODEL_FILE, compress_to_fp16=False)
    (target / ABOUT_FILE).write_text(about.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return about


def _in_int8(
    card: ModelCard,
    bank: FeatureBank | None,
    plain: openvino.Model,
    split: Split,
    samples: NDArray[np.uint8],
    max_drop: float,
) -> tuple[openvino.Model, About]:
    check_accuracy(1.0, 1.0, images=len(split), max_drop=max_drop)
    sample = sample_of(split)
    in_int8 = quantized(plain, range(len(sample)), lambda index: _input_of(card, sample, index)[None])
    before, after = (_results(card, bank, each, split) for each in (plain, in_int8))
    check_accuracy(before.accuracy, after.accuracy, images=len(split), max_drop=max_drop)
    changed = float((before.known != after.known).mean())
    check_known(changed, images=len(split), max_drop=max_drop)
    probabilities, features = compiled(in_int8, "int8")(samples).values()
    return in_int8, About(
        expected=_rows(probabilities),
        distances=_distances(bank, features),
        accuracy=after.accuracy,
        accuracy_before=before.accuracy,
        known_changed=None if bank is None else changed,
        pictures=len(split),
    )


def check_known(changed: float, *, images: int, max_drop: float) -> None:
    """Refuse int8 if it changes for more than 5% of the images, or than `max_drop` if that is more, whether their
    distance is below the threshold, which was set without int8.

    Raises:
        ParityError: it does.
    """
    if changed > (allowed := max(MOST_KNOWN_CHANGED, max_drop)):
        raise ParityError(
            f"int8 changes for {changed:.1%} of the {images} valid images whether they are known, by their distance to "
            f"the training images; that exceeds {allowed:.1%}, so int8 is refused: use bf16, or allow more "
            "(max_accuracy_drop)"
        )


class _Results(NamedTuple):
    """The accuracy of a network on a split, from 0 to 1, and which of its images are known by distance: bool [N]."""

    accuracy: float
    known: NDArray[np.bool_]


def _results(card: ModelCard, bank: FeatureBank | None, model: openvino.Model, split: Split) -> _Results:
    network = compiled(model, "fp32")
    best: list[NDArray[np.int64]] = []
    distances: list[float] = []
    for start in range(0, len(split), 16):
        inputs = np.stack([_input_of(card, split, index) for index in range(start, min(start + 16, len(split)))])
        probabilities, features = network(inputs).values()
        best.append(probabilities.argmax(1))
        distances += _distances(bank, features) or ()
    right = np.concatenate(best) == np.array(split.targets)
    threshold = 2.0 if card.feature_bank is None else card.feature_bank.threshold
    return _Results(float(right.mean()), np.array(distances) <= threshold if bank else np.ones(len(split), bool))


def _distances(bank: FeatureBank | None, features: torch.Tensor | NDArray[np.float32]) -> tuple[float, ...] | None:
    return None if bank is None else tuple(bank.distances(torch.as_tensor(features)).tolist())


def _input_of(card: ModelCard, split: Split, index: int) -> NDArray[np.uint8]:
    return _input(card, split.images.read(index), split.images.name(index))


def _input(card: ModelCard, image: ImageLike, name: str) -> NDArray[np.uint8]:
    view = card.preprocessing.view(pillow_image(image, name, color=card.preprocessing.color), 0)
    found: NDArray[np.uint8] = view.numpy()
    return found


def _rows(probabilities: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], ...]:
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
