"""The fixtures offered to users' tests, used as a user would."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from breedclf import Classifier, LocalBackend, Trainer, TrainingConfig
from breedclf.backends.emulator.server import Emulator
from breedclf.testing.fixtures import (
    _breedclf_session,
    breedclf_backend,
    breedclf_config,
    breedclf_emulator,
    breedclf_home,
    breedclf_images,
)
from tests.waiting import under_load

__all__ = [
    "_breedclf_session",
    "breedclf_backend",
    "breedclf_config",
    "breedclf_emulator",
    "breedclf_home",
    "breedclf_images",
]

PROJECT = {
    "conftest.py": 'pytest_plugins = ["breedclf.testing.fixtures"]',
    "test_jobs.py": """
        import os
        from pathlib import Path

        import pytest

        from breedclf import Categorical, ConfigError, Endpoint, Job, LocalBackend, Trainer, TuningJob

        @pytest.mark.parametrize("number", range(3))
        def test_every_test_may_use_the_same_names(breedclf_backend, breedclf_config, number):
            assert breedclf_backend.list_jobs() == []
            job = Trainer(breedclf_config, backend=breedclf_backend).submit(name="job").wait(timeout_seconds=240)
            assert job == Job("job", breedclf_backend)
            assert not (breedclf_config.output / "model").exists()

        def test_a_named_search_in_this_process(breedclf_config):
            space = {"batch_size": Categorical(4, 8)}
            TuningJob(breedclf_config, space, max_jobs=2, name="search").run()
            with pytest.raises(ConfigError, match="there is a tuning job 'search' already"):
                TuningJob(breedclf_config, space, max_jobs=2, name="search").run()

        def test_the_same_search_in_another_test(breedclf_config):
            TuningJob(breedclf_config, {"batch_size": Categorical(4)}, max_jobs=1, name="search").run()

        @pytest.fixture
        def own_home(breedclf_home):
            return breedclf_home

        def test_the_home_folder(own_home):
            assert LocalBackend().home == own_home == Path(os.environ["BREEDCLF_HOME"])
    """,
}


def test_a_whole_training_job_takes_seconds(breedclf_backend: LocalBackend, breedclf_config: TrainingConfig) -> None:
    trainer = Trainer(breedclf_config, backend=breedclf_backend)
    trainer.submit(name="first").wait(timeout=240)
    seconds = []
    for number in range(2):
        began = time.perf_counter()
        job = trainer.submit(name=f"job-{number}").wait(timeout=240)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < under_load(5)
    assert len(Classifier(job.artifact).card.class_names) == 2


def test_the_emulator_answers_its_own_session(breedclf_emulator: Emulator) -> None:
    sts = breedclf_emulator.session().client("sts", endpoint_url=breedclf_emulator.environment["AWS_ENDPOINT_URL"])
    assert sts.get_caller_identity()["Arn"].endswith(":user/emulator")


@pytest.mark.slow
def test_a_project_of_its_own_passes_twice_and_in_parallel(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    for options in ([], [], ["-n", "2"]):
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "6 passed" in done.stdout
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == set(PROJECT)
