"""A folder with something of each kind that the console shows."""

from __future__ import annotations

from pathlib import Path

from breedclf import ModelStore
from breedclf.jobs import JobStatus
from tests.console.running import add_job
from tests.model_store.stored import write_model
from tests.overview.planted import add_profile, clean_profile, slow_profile
from tests.overview.planted_searches import plant
from tests.overview.test_endpoints import NOW, endpoint_in, line

LONG_NAME = "a-name-of-sixty-three-characters-which-is-what-sagemaker-permits"[:63]


def plant_everything(folder: Path) -> None:
    """Write jobs in each state, searches, profiles, endpoints and models; some are damaged, some have long names."""
    home = folder / "home"
    for index, status in enumerate(JobStatus):
        add_job(folder, f"dogs-{index}", status=status, epochs=4, log="epoch 1/4\n" * 40)
    add_job(folder, LONG_NAME, epochs=2, log=f"{'x' * 5000}\n")
    add_profile(add_job(folder, "slow"), slow_profile())
    add_profile(add_job(folder, "clean"), clean_profile())
    plant(home, "search", (0.5, 0.25, None, 0.75, 0.26, 0.4, 0.3))
    plant(home, LONG_NAME[:32].rstrip("-"), ())
    damaged = endpoint_in(home, "damaged")
    (damaged.path / "endpoint.json").write_text("{", encoding="utf-8")
    endpoint_in(home, LONG_NAME, alive=False)
    endpoint_in(home, "dogs", expires=NOW + 60).log_file.write_text(line(NOW), encoding="utf-8")
    store = ModelStore(folder / "models")
    for content in (b"1", b"2"):
        store.add(write_model(home / "jobs/dogs-1/output/model", content), name="dogs", tuning_job="search")
        (home / "jobs/dogs-1/output/model").rename(home / f"jobs/dogs-1/output/model-{content.decode()}")
    store.add(write_model(folder / "run/model", b"3"), name=LONG_NAME)
