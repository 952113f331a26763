"""`python -m breedclf.features.openvino_maker FOLDER`: convert a backbone to OpenVINO, in int8 if it is accurate."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.image_source import EncodedImages
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import Split
from breedclf.data.training_data import load_data
from breedclf.errors import BreedclfError, ConfigError, DataError, ImageError, ParityError, WeightsError
from breedclf.features.openvino import (
    MODEL_FILE,
    ORDER_FILE,
    STATE_FILE,
    OpenVinoBackbone,
    end_with_whoever_asked,
    sample_of,
    told_error,
)
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.state_dict import all_finite
from breedclf.runtime.telemetry import opt_out

if TYPE_CHECKING:
    import openvino

_CHUNK = 32

T = TypeVar("T")


def main() -> int:
    """Convert the backbone in the folder; the accuracy of int8, if requested, is the last line on stdout."""
    end_with_whoever_asked()
    opt_out()
    import openvino

    folder = Path(sys.argv[1])
    order = json.loads((folder / ORDER_FILE).read_text(encoding="utf-8"))
    config, preprocessing = TrainingConfig(**order["config"]), Preprocessing(**order["preprocessing"])
    try:
        model = converted(config.architecture, load_file(folder / STATE_FILE), preprocessing.crop_px)
        if order["precision"] == "int8":
            model, message = in_int8(model, config, preprocessing)
            sys.stdout.write(message + "\n")
    except BreedclfError as error:
        return told_error(error)
    openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
    return 0


def converted(architecture: str, state: StateDict, crop_px: int) -> openvino.Model:
    """The backbone with these weights as an OpenVINO model, from float32 [N, 3, crop_px, crop_px] to features [N, D].

    Raises:
        WeightsError: weights are NaN or infinite.
        ConfigError: OpenVINO can't convert this network.
    """
    network = find_backbone(architecture).headless(state)
    if not all_finite(network):
        raise WeightsError("the weights contain NaN or infinite values, which OpenVINO would hide")
    return as_openvino(network, torch.zeros(1, 3, crop_px, crop_px), architecture)


def as_openvino(network: nn.Module, example: torch.Tensor, architecture: str) -> openvino.Model:
    """A network as an OpenVINO model for any number of images; `example` is one of them, [1, ...].

    Raises:
        ConfigError: OpenVINO can't convert it; the message names the architecture.
    """
    import openvino

    shape, dtype = [-1, *example.shape[1:]], example.numpy().dtype.type
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # attention as one operation, which OpenVINO doesn't have
    try:
        with warnings.catch_warnings(action="ignore"):  # from a tracer that OpenVINO still uses
            return openvino.convert_model(network, example_input=example, input=[(shape, dtype)])
    except Exception as error:  # its frontend has errors of its own
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), repr(error))
        raise ConfigError(
            f"engine=openvino can't run architecture={architecture}: OpenVINO doesn't convert it ({reason[:200]}); use "
            "engine=torch"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def in_int8(model: openvino.Model, config: TrainingConfig, preprocessing: Preprocessing) -> tuple[openvino.Model, str]:
    """The model in int8, calibrated on training images, and a line about its accuracy on validation images.

    Raises:
        DataError: there are too few images to measure it.
        ParityError: it costs more accuracy than `max_accuracy_drop`.
    """
    data = load_data(config)
    train, valid = (_images(sample_of(split), preprocessing) for split in (data.train, data.valid))
    count, max_drop = len(valid[1]), config.max_accuracy_drop
    check_accuracy(1.0, 1.0, images=count, max_drop=max_drop)
    rounded = quantized(model, list(train[0]), partial(_input, preprocessing))
    exact = OpenVinoBackbone(model, "fp32")
    test = _through(exact, valid[0], preprocessing)  # in use, the head gets exact features
    before, after = (
        nearest_mean_accuracy(_through(each, train[0], preprocessing), train[1], test, valid[1])
        for each in (exact, OpenVinoBackbone(rounded, "int8"))
    )
    check_accuracy(before, after, images=count, max_drop=max_drop)
    return (
        rounded,
        f"int8: nearest class means classify {after:.1%} of {count} valid images correctly, {before:.1%} without it",
    )


def quantized(
    model: openvino.Model, images: Sequence[T], as_input: Callable[[T], NDArray[np.generic]]
) -> openvino.Model:
    """The model in int8, calibrated on images; `as_input` makes one an input [1, ...] of the model."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):  # its progress bars don't belong on stdout
        in_int8: openvino.Model = nncf.quantize(model, nncf.Dataset(images, as_input), subset_size=len(images))
    return in_int8


def check_accuracy(before: float, after: float, *, images: int, max_drop: float) -> None:
    """Refuse a network whose accuracy, from 0 to 1, dropped by more than `max_drop`.

    Raises:
        DataError: there are too few images: the drop is less than one of them.
        ParityError: the accuracy dropped by more.
    """
    if images * max_drop < 1:
        raise DataError(
            f"the valid split has {images} images, too few to measure a drop of {max_drop:.1%} in accuracy; add more "
            f"images, or allow a drop of {1 / max(1, images):.1%} or more (max_accuracy_drop)"
        )
    if before - after > max_drop:
        raise ParityError(
            f"int8 classifies {after:.1%} of the {images} valid images correctly, {before:.1%} without it: the drop "
            f"exceeds {max_drop:.1%}, so int8 is refused; use bf16, or allow more (max_accuracy_drop)"
        )


def nearest_mean_accuracy(
    features: torch.Tensor, targets: torch.Tensor, others: torch.Tensor, their_targets: torch.Tensor
) -> float:
    """The share of `others` [M, D], 0 to 1, that are nearest to their class's mean of `features` [N, D]."""
    deviation, mean = torch.std_mean(features, dim=0)
    features, others = ((each - mean) / (deviation + 1e-6) for each in (features, others))
    classes = torch.unique(targets)
    means = torch.stack([features[targets == each].mean(0) for each in classes])
    return float((classes[torch.cdist(others, means).argmin(1)] == their_targets).float().mean())


def _images(split: Split, preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """The readable images, uint8 [N, 3, H, W], and their targets int64 [N]."""
    images, targets = [], []
    encoded = EncodedImages(split.images)
    for index, target in enumerate(split.targets):
        try:
            enough_px, color = preprocessing.enough_px(0), preprocessing.color
            images.append(preprocessing.view(encoded.load(index, enough_px, color).image, 0))
        except ImageError:  # extracting the features skips it, or stops
            continue
        targets.append(target)
    if not images:
        raise DataError(f"none of the {len(split)} {split.name} images for the test of int8 can be read")
    return torch.stack(images), torch.tensor(targets)


def _input(preprocessing: Preprocessing, image: torch.Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = preprocessing.normalize(image[None]).contiguous().numpy()
    return values


def _through(backbone: OpenVinoBackbone, images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    return torch.cat([backbone(preprocessing.normalize(chunk)) for chunk in torch.split(images, _CHUNK)])


if __name__ == "__main__":
    sys.exit(main())
