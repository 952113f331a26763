"""breedclf's fixtures: small images, settings that train within a second, and a backend that runs real jobs."""

from __future__ import annotations

import pytest

from breedclf import Classifier, Trainer, TrainingConfig

pytest_plugins = ["breedclf.testing.fixtures"]


@pytest.fixture
def classifier(breedclf_config: TrainingConfig) -> Classifier:
    """A real model; training it takes about a second, and its features are cached for the next test."""
    return Trainer(breedclf_config).fit().classifier
