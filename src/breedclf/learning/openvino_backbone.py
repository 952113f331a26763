"""OpenVINO for the frozen part on CPUs: the backbone as it compiles it, in int8 only where that costs no accuracy."""

from __future__ import annotations

import contextlib
import importlib.metadata
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
from torch import nn

from breedclf.config import Architecture, TrainingConfig
from breedclf.errors import DataError, ImageError, ParityError, WeightsError
from breedclf.extras import need
from breedclf.learning.decoding import decode_picture
from breedclf.learning.device import available_cores
from breedclf.learning.features import fingerprint_of
from breedclf.learning.fused import all_finite
from breedclf.learning.model import StateDict, empty_network
from breedclf.learning.preprocessing import Preprocessing
from breedclf.learning.scan import PictureFolder, Split

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

CALIBRATION_PICTURES = 300
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_CHUNK = 32


class OpenVinoBackbone(nn.Module):
    """Normalised pictures [N, 3, H, W] to features float32 [N, D], computed by OpenVINO's own threads."""

    def __init__(self, model: openvino.Model, precision: str) -> None:
        super().__init__()
        self._compiled = compiled(model, precision)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._compiled(pictures.float().contiguous().numpy())[0])


def openvino_backbone(
    config: TrainingConfig, folder: PictureFolder, state: StateDict, preprocessing: Preprocessing, precision: str
) -> OpenVinoBackbone:
    """The frozen part of a training; for int8 it is calibrated on training pictures and tried on others.

    Raises:
        MissingExtraError: OpenVINO isn't installed.
        WeightsError: not all weights are numbers.
        DataError: there are too few pictures to tell what int8 costs.
        ParityError: int8 costs more accuracy than is allowed.
    """
    need_openvino(precision)
    model = converted(config.architecture, state, preprocessing.crop_px)
    if precision != "int8":
        return OpenVinoBackbone(model, precision)
    train, valid = (_pictures(sample_of(folder.split(name)), preprocessing) for name in ("train", "valid"))
    check_accuracy(1.0, 1.0, pictures=len(valid[1]), max_drop=config.max_accuracy_drop)
    exact = OpenVinoBackbone(model, "fp32")
    rounded = OpenVinoBackbone(quantised(model, list(train[0]), partial(_input, preprocessing)), precision)
    judged = _through(exact, valid[0], preprocessing)  # the head meets exact features when it is used
    before, after = (
        nearest_mean_accuracy(_through(each, train[0], preprocessing), train[1], judged, valid[1])
        for each in (exact, rounded)
    )
    log.info(
        "int8: means of classes from it name %.1f%% of %d valid pictures rightly, %.1f%% without it",
        100 * after,
        len(valid[1]),
        100 * before,
    )
    check_accuracy(before, after, pictures=len(valid[1]), max_drop=config.max_accuracy_drop)
    return rounded


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


def engine_name(config: TrainingConfig, folder: PictureFolder, precision: str) -> str:
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
    """
    packages = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    need(*packages, purpose="engine=openvino", install="'breedclf[openvino]'")


def compiled(model: openvino.Model | Path, precision: str) -> Any:
    """The model for this CPU, on all cores that this process may use."""
    import openvino

    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": available_cores(),
    }
    return openvino.Core().compile_model(model, "CPU", hints)


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


def sample_of(split: Split) -> Split:
    """At most `CALIBRATION_PICTURES`, evenly from a split that is ordered by class, so that all classes are met."""
    every = max(1, -(-len(split) // CALIBRATION_PICTURES))
    return Split(split.name, split.paths[::every], split.targets[::every])


def _pictures(split: Split, preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures uint8 [N, 3, H, W] and their targets int64 [N], those aside that can't be read."""
    pictures, targets = [], []
    for path, target in zip(split.paths, split.targets, strict=True):
        try:
            pictures.append(preprocessing.view(decode_picture(path, enough_px=preprocessing.enough_px(0)), 0))
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
