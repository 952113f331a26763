"""Continuing a model (`start_from`): what it determines, its head in the run's classes, and how good it is before."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from breedclf.config import Objective, TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.data.training_data import TrainingData
from breedclf.errors import ArtifactError, ConfigError
from breedclf.files.model_folder import model_directory_at
from breedclf.inference.model_directory import backbone_of, read_artifact, read_card
from breedclf.inference.started_from import StartedFrom
from breedclf.jobs import remote_address
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.model import Model
from breedclf.models.weights import PretrainedWeights, TrainedHead
from breedclf.runtime.cpu_threads import on_threads
from breedclf.training.class_match import ClassMatch, match_classes
from breedclf.training.records import BeforeTraining, EpochRecord
from breedclf.training.task import TrainingTask

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """The model that a run continues: what the card records about it, and its metrics before the first step."""

    record: StartedFrom
    before: BeforeTraining

    def report(self, best: EpochRecord, objective: Objective) -> None:
        """Log the metrics before and after training; a warning if no epoch is better than the model was."""
        then, now = getattr(self.before, objective), getattr(best, objective)
        line = (
            f"valid accuracy {self.before.valid_accuracy:.1%} before, {best.valid_accuracy:.1%} now; valid loss "
            f"{self.before.valid_loss:.4f} before, {best.valid_loss:.4f} now (best epoch {best.epoch})"
        )
        if (then < now) if objective == "valid_loss" else (then > now):
            log.warning(
                "no epoch is better than the model of start_from by %s: %s; the best epoch is saved: keep the old "
                "model, or lower learning_rate",
                objective,
                line,
            )
        else:
            log.info("%s", line)


def with_start_model(config: TrainingConfig) -> TrainingConfig:
    """The settings with the model directory, and what the model determines: architecture and scaling of JPEGs.

    Raises:
        ArtifactError: `start_from` isn't a model directory, its card can't be read, or its network isn't there.
        ConfigError: a setting contradicts the model.
    """
    if config.start_from is None:
        return config
    if (uri := remote_address(config.start_from)) is not None:
        raise ConfigError(f"start_from={uri}: the model must be on this machine; fetch it first")
    folder = model_directory_at(config.start_from)
    try:
        card = read_card(folder)
        backbone_of(card, folder)
    except ArtifactError as error:
        raise ArtifactError(f"start_from: {error}") from error
    determined = {"architecture": card.architecture, "dct_scaling": card.preprocessing.dct_scaling}
    for name, value in determined.items():
        if name in config.model_fields_set and getattr(config, name) != value:
            raise ConfigError(
                f"start_from={str(folder)!r} has {name}={value}, but {name}={getattr(config, name)} is set: leave "
                f"{name} out, or train a new model without start_from"
            )
    return config.replace(start_from=folder, **determined)


def start_weights(folder: Path) -> PretrainedWeights:
    """The backbone, preprocessing and head of a model directory.

    Raises:
        ArtifactError: it is damaged, or isn't a model directory of this or an older version.
    """
    try:
        card, state = read_artifact(folder)
    except ArtifactError as error:
        raise ArtifactError(f"start_from: {error}") from error
    backbone = find_backbone(card.architecture)
    temperature = 1.0 if card.calibration is None else card.calibration.temperature  # training goes on without it
    weight, bias = (state.pop(backbone.head_prefix + name).float() * temperature for name in ("weight", "bias"))
    head = TrainedHead(card.labels, card.class_names, weight, bias, card.weights_sha256)
    return PretrainedWeights(backbone, state, backbone.fingerprint(state), card.preprocessing, card.backbone, head)


def load_head(config: TrainingConfig, data: TrainingData, model: Model) -> ClassMatch | None:
    """Move the rows of the continued model's head into the run's head, and log what changes; None without one."""
    head = model.pretrained.head
    if head is None:
        return None
    match = match_classes(head.labels, head.class_names, data.labels, data.class_names)
    if match.kept:
        model.head.load_folded(*_rows(head, match))
    log.info("continuing %s (%s): %s", config.start_from, config.architecture, match)
    return match


def start_from_model(config: TrainingConfig, data: TrainingData, model: Model, task: TrainingTask) -> Start | None:
    """Start with the continued model's head, and measure it before the first step; None without `start_from`."""
    head, match = model.pretrained.head, load_head(config, data, model)
    if head is None or match is None:
        return None
    with on_threads(task.threads):
        before = _measure(model, head, match, task.valid, config.batch_size)
    known = f"; {before.known_accuracy:.1%} of the {before.known_count} images of classes that it knows"
    log.info(
        "before the first step: valid accuracy %.1f%%, valid loss %.4f%s",
        100 * before.valid_accuracy,
        before.valid_loss,
        known if before.known_count and (match.new or match.dropped) else "",
    )
    record = StartedFrom(
        fingerprint=head.model_sha256,
        kept=match.kept,
        new=match.new,
        dropped=match.dropped,
        renamed=dict(match.renamed),
    )
    return Start(record, before)


def _rows(head: TrainedHead, match: ClassMatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias in the order of the run's classes.

    A new class gets the mean of the model's rows, so its score is the mean of the model's scores: it starts with an
    average probability, and an image that the model classifies correctly still is.
    """
    mean_weight, mean_bias = head.weight.double().mean(0).float(), head.bias.double().mean().float()
    weight = torch.stack([mean_weight if row is None else head.weight[row] for row in match.rows])
    bias = torch.stack([mean_bias if row is None else head.bias[row] for row in match.rows])
    return weight, bias


@torch.inference_mode()
def _measure(
    model: Model, head: TrainedHead, match: ClassMatch, valid: FeatureSource, batch_size: int
) -> BeforeTraining:
    device = valid.targets.device
    weight, bias = head.weight.to(device), head.bias.to(device)
    output_of = torch.tensor([-1 if row is None else row for row in match.rows], device=device)
    loss = correct = known_loss = known_correct = 0.0
    known_count = 0
    model.module.eval()
    for inputs, targets in valid.batches(torch.arange(len(valid.targets)), batch_size):
        features = model.features(inputs)
        scores = model.head(features)
        loss += F.cross_entropy(scores, targets, reduction="sum").item()
        correct += (scores.argmax(1) == targets).sum().item()
        outputs = output_of[targets]
        is_known = outputs >= 0
        own_scores, outputs = F.linear(features[is_known], weight, bias), outputs[is_known]
        known_loss += F.cross_entropy(own_scores, outputs, reduction="sum").item()
        known_correct += (own_scores.argmax(1) == outputs).sum().item()
        known_count += len(outputs)
    count, known = len(valid.targets), known_count or float("nan")
    return BeforeTraining(loss / count, correct / count, known_count, known_loss / known, known_correct / known)
