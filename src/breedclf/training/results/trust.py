"""What makes the answers of a trained model trustworthy: its calibration, and the bank of known features."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.features.sources import Sources
from breedclf.inference.calibration import Calibration
from breedclf.inference.conformal import ConformalQuantiles, quantiles_of
from breedclf.inference.feature_bank import LimitedBank
from breedclf.models.backbones.backbone import StateDict
from breedclf.models.head import spread
from breedclf.models.model import Model
from breedclf.training.results.bank import Images, chosen_rows, limited_bank
from breedclf.training.results.calibration import ENOUGH_IMAGES, Scores, calibration_of

log: logging.Logger = logging.getLogger(__name__)

_BATCH = 1024
COMPUTED_BATCH = 32
MOST_COMPUTED = 2_000


@dataclass(frozen=True)
class Trust:
    """The state dict to save, and what its card says: `calibration` and `conformal` are None without calibration, and
    `bank` also with too few images for one.
    """

    state: StateDict
    calibration: Calibration | None = None
    conformal: ConformalQuantiles | None = None
    bank: LimitedBank | None = None


def trust_of(
    config: TrainingConfig, model: Model, state: StateDict, sources: Sources, folds: Callable[[], Scores | None]
) -> Trust:
    """Calibrate a network that was trained on `sources`, and make its feature bank, as far as the settings ask for it.

    If the inputs aren't cached features, at most 2,000 images of each split pass through the network for each.

    Args:
        config: the settings.
        model: the trained module.
        state: the whole network's weights, as `Model.network_state` returns them.
        sources: provide the inputs of its module.
        folds: computes out-of-fold scores of training images, used with few validation images.
    """
    trust = Trust(state)
    if not (config.calibration or config.feature_bank):
        return trust
    most = None if sources.are_cached else MOST_COMPUTED
    batch = _BATCH if sources.are_cached else COMPUTED_BATCH
    valid = final_features(model, sources.valid, spread(len(sources.valid.targets), most), batch)
    if config.calibration:
        trust = _calibrated(model.backbone.head_prefix, state, valid, folds)
    if config.feature_bank:
        targets = sources.first.targets.cpu()
        train = final_features(model, sources.evaluation_crops, chosen_rows(targets), batch)
        trust = replace(trust, bank=limited_bank(train, valid))
    return trust


def _calibrated(prefix: str, state: StateDict, valid: Images, folds: Callable[[], Scores | None]) -> Trust:
    """The state with the scores of its head, the tensors that start with `prefix`, divided by the temperature."""
    head = {name: state[prefix + name] for name in ("weight", "bias")}
    values = F.linear(valid.features, head["weight"].cpu(), head["bias"].cpu())
    if not bool(values.isfinite().all()):
        log.warning("not calibrated: the scores of validation images are NaN or infinite")
        return Trust(state)
    scores = Scores(values.double(), valid.targets)
    calibration = calibration_of(scores, folds() if len(values) < ENOUGH_IMAGES else None)
    log.info("%s", calibration)
    conformal = quantiles_of((values / calibration.temperature).softmax(1), valid.targets)
    scaled = {prefix + name: tensor / calibration.temperature for name, tensor in head.items()}
    return Trust(state | scaled, calibration, conformal)


@torch.inference_mode()
def final_features(model: Model, source: FeatureSource, rows: torch.Tensor, batch: int) -> Images:
    """The head's inputs, and the classes, of some rows of a source, on the CPU."""
    found, targets = [], []
    for inputs, labels in source.batches(rows, batch):
        found.append(model.features(inputs).float().to("cpu", copy=True))
        targets.append(labels.to("cpu", copy=True))
    return Images(torch.cat(found), torch.cat(targets))
