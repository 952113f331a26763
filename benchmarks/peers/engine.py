"""Shared by the compared servers: the same decoding and network, so that only the server differs."""

from __future__ import annotations

from typing import Any

from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import Limits
from breedclf.serving.engines.engine import TorchEngine


def load_engine(model: str) -> TorchEngine:
    """The classifier, and its response to one image."""
    engine = TorchEngine(Classifier(model), Limits())
    engine.forward([engine.sample()])
    return engine


def answer_of(prediction: Prediction) -> dict[str, Any]:
    ranked = [{"class_name": each.class_name, "probability": each.probability} for each in prediction.top(5)]
    return {"predictions": ranked}
