"""The fixtures offered to users' tests, used as a user would."""

from __future__ import annotations

import time

from breedclf import Classifier, LocalBackend, Trainer, TrainingConfig
from breedclf.backends.emulator.server import Emulator
from breedclf.testing.fixtures import breedclf_backend, breedclf_config, breedclf_emulator, breedclf_images

__all__ = ["breedclf_backend", "breedclf_config", "breedclf_emulator", "breedclf_images"]


def test_a_whole_training_job_takes_seconds(breedclf_backend: LocalBackend, breedclf_config: TrainingConfig) -> None:
    trainer = Trainer(breedclf_config, backend=breedclf_backend)
    trainer.submit(name="first").wait(timeout=240)
    seconds = []
    for number in range(2):
        began = time.perf_counter()
        job = trainer.submit(name=f"job-{number}").wait(timeout=240)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 5
    assert len(Classifier(job.artifact).card.class_names) == 2


def test_the_emulator_answers_its_own_session(breedclf_emulator: Emulator) -> None:
    sts = breedclf_emulator.session().client("sts", endpoint_url=breedclf_emulator.environment["AWS_ENDPOINT_URL"])
    assert sts.get_caller_identity()["Arn"].endswith(":user/emulator")
