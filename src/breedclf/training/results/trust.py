"""What makes the answers of a trained model trustworthy: its calibration, and the bank of known features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from breedclf.data.sources import FeatureSource
from breedclf.features.sources import Sources
from breedclf.inference.calibration import Calibration
from breedclf.inference.feature_bank import LimitedBank
from breedclf.models.backbones.backbone import StateDict
from breedclf.models.model import Model
from breedclf.training.results.bank import chosen_rows, limited_bank
from breedclf.training.results.calibration import calibration_of

_BATCH = 1024


@dataclass(frozen=True)
class Trust:
    """The state dict with a calibrated head, how it was calibrated, and the bank if there are enough images."""

    state: StateDict
    calibration: Calibration
    bank: LimitedBank | None


def trust_of(model: Model, state: StateDict, sources: Sources) -> Trust:
    """Calibrate a network that was trained on `sources`, and make its feature bank.

    Args:
        model: the trained module.
        state: the whole network's weights, as `Model.state_with` returns them.
        sources: provide the inputs of its module.
    """
    prefix = model.backbone.head_prefix
    weight, bias = state[f"{prefix}weight"], state[f"{prefix}bias"]
    rows = torch.arange(len(sources.valid.targets))
    valid, targets = final_features(model, sources.valid, rows)
    calibration = calibration_of(F.linear(valid, weight, bias), targets)
    train, _ = final_features(model, sources.first, chosen_rows(sources.first.targets.cpu()))
    scaled = {f"{prefix}{name}": state[f"{prefix}{name}"] / calibration.temperature for name in ("weight", "bias")}
    return Trust(state | scaled, calibration, limited_bank(train, valid))


@torch.inference_mode()
def final_features(model: Model, source: FeatureSource, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The head's inputs, float32 [N, D], and the classes, int64 [N], of some rows of a source, on the CPU."""
    model.module.eval()
    found, targets = [], []
    for inputs, labels in source.batches(rows, _BATCH):
        found.append(model.features(inputs).float().cpu())
        targets.append(labels.cpu().clone())
    return torch.cat(found), torch.cat(targets)
