"""breedclf's fixtures: small images, settings that train within a second, and a backend that runs real jobs."""

from __future__ import annotations

import pytest

from breedclf import Classifier, Trainer, TrainingConfig

pytest_plugins = ["breedclf.testing.fixtures"]


@pytest.fixture(scope="session")
def classifier(breedclf_config: TrainingConfig) -> Classifier:
    """A real model, trained once for all tests."""
    return Trainer(breedclf_config).fit().classifier
