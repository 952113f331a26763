"""`python -m breedclf.features.openvino_maker FOLDER`: a backbone as OpenVINO's file, in int8 if that costs little."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from breedclf.config import Architecture, TrainingConfig
from breedclf.data.decoding import decode_image
from breedclf.data.image_folder import Split, training_images
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import BreedclfError, DataError, ImageError, ParityError, WeightsError
from breedclf.features.openvino import (
    MODEL_FILE,
    ORDER_FILE,
    STATE_FILE,
    OpenVinoBackbone,
    end_with_whoever_asked,
    sample_of,
    told_error,
)
from breedclf.models.network import StateDict, empty_network
from breedclf.models.state_dict import all_finite
from breedclf.runtime.telemetry import opt_out

if TYPE_CHECKING:
    import openvino

_CHUNK = 32


def main() -> int:
    """Make the file that is ordered in the folder; what was found out about it is the last line on stdout."""
    end_with_whoever_asked()
    opt_out()
    import openvino

    folder = Path(sys.argv[1])
    order = json.loads((folder / ORDER_FILE).read_text(encoding="utf-8"))
    config, preprocessing = TrainingConfig(**order["config"]), Preprocessing(**order["preprocessing"])
    try:
        model = converted(config.architecture, load_file(folder / STATE_FILE), preprocessing.crop_px)
        if order["precision"] == "int8":
            model, told = in_int8(model, config, preprocessing)
            sys.stdout.write(told + "\n")
    except BreedclfError as error:
        return told_error(error)
    openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
    return 0


def converted(architecture: Architecture, state: StateDict, crop_px: int) -> openvino.Model:
    """The backbone with these weights as OpenVINO's model, from pictures of that size to features.

    Raises:
        WeightsError: not all weights are numbers.
    """
    import openvino

    network = empty_network(architecture, 1)
    network.fc = nn.Identity()
    network.load_state_dict(state, assign=True)
    if not all_finite(network):
        raise WeightsError("the weights hold values that are no numbers, which OpenVINO would hide")
    example, shape = torch.zeros(1, 3, crop_px, crop_px), [-1, 3, crop_px, crop_px]
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of a tracer that OpenVINO still uses
        return openvino.convert_model(network.eval(), example_input=example, input=[(shape, np.float32)])


def in_int8(model: openvino.Model, config: TrainingConfig, preprocessing: Preprocessing) -> tuple[openvino.Model, str]:
    """The model calibrated on training pictures, and what trying it on valid ones showed.

    Raises:
        DataError: there are too few pictures to tell.
        ParityError: it costs more accuracy than is allowed.
    """
    folder = training_images(config)
    train, valid = (_images(sample_of(folder.split(name)), preprocessing) for name in ("train", "valid"))
    count, most = len(valid[1]), config.max_accuracy_drop
    check_accuracy(1.0, 1.0, pictures=count, max_drop=most)
    rounded = quantised(model, list(train[0]), partial(_input, preprocessing))
    exact = OpenVinoBackbone(model, "fp32")
    judged = _through(exact, valid[0], preprocessing)  # the head meets exact features when it is used
    before, after = (
        nearest_mean_accuracy(_through(each, train[0], preprocessing), train[1], judged, valid[1])
        for each in (exact, OpenVinoBackbone(rounded, "int8"))
    )
    check_accuracy(before, after, pictures=count, max_drop=most)
    told = f"int8: means of classes from it name {after:.1%} of {count} valid pictures rightly, {before:.1%} without it"
    return rounded, told


def quantised(
    model: openvino.Model, pictures: Sequence[Any], as_input: Callable[[Any], NDArray[Any]]
) -> openvino.Model:
    """The model in int8, calibrated on the pictures, each made an input with its batch dimension."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):  # its bars don't belong among a command's answers
        in_int8: openvino.Model = nncf.quantize(model, nncf.Dataset(pictures, as_input), subset_size=len(pictures))
    return in_int8


def check_accuracy(before: float, after: float, *, pictures: int, max_drop: float) -> None:
    """Refuse a network that names fewer pictures rightly than is allowed.

    Raises:
        DataError: a drop of this size is less than one of so few pictures.
        ParityError: the accuracy dropped by more.
    """
    if pictures * max_drop < 1:
        raise DataError(
            f"the valid split has {pictures} pictures, too few to tell a drop of {max_drop:.1%} in accuracy; give more "
            f"pictures, or allow a drop of {1 / max(1, pictures):.1%} or more (max_accuracy_drop)"
        )
    if before - after > max_drop:
        raise ParityError(
            f"int8 names {after:.1%} of the {pictures} valid pictures rightly, {before:.1%} are without it: more than "
            f"{max_drop:.1%} would be lost, so that int8 is refused; use bf16, or allow more (max_accuracy_drop)"
        )


def nearest_mean_accuracy(
    features: torch.Tensor, targets: torch.Tensor, others: torch.Tensor, their_targets: torch.Tensor
) -> float:
    """The share of `others` [M, D] whose nearest class mean of `features` [N, D], scaled alike, is their own class."""
    deviation, mean = torch.std_mean(features, dim=0)
    features, others = ((each - mean) / (deviation + 1e-6) for each in (features, others))
    classes = torch.unique(targets)
    means = torch.stack([features[targets == each].mean(0) for each in classes])
    return float((classes[torch.cdist(others, means).argmin(1)] == their_targets).float().mean())


def _images(split: Split, preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures uint8 [N, 3, H, W] and their targets int64 [N], those aside that can't be read."""
    pictures, targets = [], []
    for path, target in zip(split.paths, split.targets, strict=True):
        try:
            enough_px, color = preprocessing.enough_px(0), preprocessing.color
            pictures.append(preprocessing.view(decode_image(path, enough_px=enough_px, color=color), 0))
        except ImageError:  # the pass itself skips it or stops at it
            continue
        targets.append(target)
    if not pictures:
        raise DataError(f"none of the {len(split)} pictures of {split.name} that int8 would be tried on can be read")
    return torch.stack(pictures), torch.tensor(targets)


def _input(preprocessing: Preprocessing, picture: torch.Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = preprocessing.normalise(picture[None]).contiguous().numpy()
    return values


def _through(backbone: OpenVinoBackbone, pictures: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    return torch.cat([backbone(preprocessing.normalise(chunk)) for chunk in torch.split(pictures, _CHUNK)])


if __name__ == "__main__":
    sys.exit(main())
