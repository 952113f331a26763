"""The images that backbones are compared on: those of training and validation together, never those of the test."""

from __future__ import annotations

from breedclf.data.joined_images import JoinedImages
from breedclf.data.split import Split
from breedclf.data.training_data import TrainingData


def pooled(data: TrainingData) -> Split:
    """The training and the validation images as one split."""
    train, valid = data.train, data.valid
    return Split("train and valid", JoinedImages((train.images, valid.images)), train.targets + valid.targets)
