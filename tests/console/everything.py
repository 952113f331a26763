"""A folder with something of each kind that the console shows, and a page of each kind and state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from breedclf import ModelStore
from breedclf.jobs import JobStatus
from breedclf.model_store.comparison import compared
from breedclf.overview.dataset_findings import CHECK
from breedclf.overview.datasets import key_of
from breedclf.overview.tasks import ENDED_FILE, LOG_FILE, OUTPUT_FILE, TASK_FILE, tasks_folder
from breedclf.profiling.verified import write_verification
from breedclf.text.plain_json import plain_json
from tests.console.running import add_job, overview_in
from tests.console.test_data import write_review
from tests.model_store.stored import write_model
from tests.overview.planted import DEAD, VERIFIED, add_journey, add_profile, clean_profile, slow_profile
from tests.overview.planted_searches import plant
from tests.overview.test_datasets import check_values, submit, write_pictures
from tests.overview.test_endpoints import NOW, endpoint_in, line

LONG_NAME = "a-name-of-sixty-three-characters-which-is-what-sagemaker-permits"[:63]
_DATA = "my dogs"


def plant_everything(folder: Path) -> None:
    """Write jobs in each state, searches, profiles, endpoints, models, data and journeys.

    Some are damaged, some have long names.
    """
    home = folder / "home"
    for index, status in enumerate(JobStatus):
        add_job(folder, f"dogs-{index}", status=status, epochs=4, log="epoch 1/4\n" * 40)
    add_job(folder, LONG_NAME, epochs=2, log=f"{'x' * 5000}\n")
    (add_job(folder, "broken").path / "job.json").write_text("{", encoding="utf-8")
    add_profile(add_job(folder, "slow"), slow_profile())
    add_profile(add_job(folder, "clean"), clean_profile())
    plant(home, "search", (0.5, 0.25, None, 0.75, 0.26, 0.4, 0.3))
    plant(home, LONG_NAME[:32].rstrip("-"), ())
    damaged = endpoint_in(home, "damaged")
    (damaged.path / "endpoint.json").write_text("{", encoding="utf-8")
    endpoint_in(home, LONG_NAME, alive=False)
    endpoint_in(home, "dogs", expires=NOW + 60).log_file.write_text(line(NOW), encoding="utf-8")
    _plant_models(folder)
    _plant_data(folder)
    _plant_runs(folder / "runs")


def each_kind(folder: Path) -> list[str]:
    """The address of a page of each kind, in each of its states.

    The one with the most to show is the last of its kind; the last of all is of something that isn't there.
    """
    lists = ["/jobs?words=nothing", "/jobs", "/searches", "/profiles", "/endpoints", "/models", "/data", "/journeys"]
    jobs = ["broken", LONG_NAME, "dogs-2", "dogs-0", "dogs-0/log"]
    versions = ["damaged", "dogs", "dogs?a=1&b=2", "dogs/2"]
    data = key_of(str(folder / _DATA))
    return [
        *lists,
        *(f"/jobs/{name}" for name in jobs),
        *(f"/searches/{name}" for name in (LONG_NAME[:32].rstrip("-"), "search")),
        *(f"/profiles/{name}" for name in ("clean", "runs.slow")),
        *(f"/endpoints/{name}" for name in ("damaged", "dogs")),
        *(f"/models/{name}" for name in versions),
        f"/data/{data}",
        *(f"/journeys/runs.{name}" for name in ("damaged", "refused", "dead", "going-on", "done")),
        "/jobs/no-such-job",
    ]


def _plant_models(folder: Path) -> None:
    home, store = folder / "home", ModelStore(folder / "models")
    for content in (b"1", b"2"):
        store.add(write_model(home / "jobs/dogs-1/output/model", content), name="dogs", tuning_job="search")
        (home / "jobs/dogs-1/output/model").rename(home / f"jobs/dogs-1/output/model-{content.decode()}")
    store.add(write_model(folder / "run/model", b"3"), name=LONG_NAME)
    store.promote("dogs", 1)
    store.alias("dogs", "best", 2)
    (store.path / "models" / "damaged.json").write_text("{", encoding="utf-8")
    truths, first, second = (np.array(each) for each in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 0]))
    comparison = compared(("dogs 1", "dogs 2"), ["cat", "dog"], truths, first, second, "test/{}.png".format, ["why"])
    (folder / "runs/compared").mkdir(parents=True)
    (folder / "runs/compared/comparison.json").write_text(plain_json(comparison.to_dict()), encoding="utf-8")


def _plant_data(folder: Path) -> None:
    home, data = folder / "home", folder / _DATA
    pictures = ("train/a/1.png", "train/a/2.png", "train/b/1.png", "valid/a/1.png", "valid/b/1.png")
    write_pictures(data, *pictures, side_px=40)
    (data / "train/a/bad.jpg").write_bytes(b"\xff\xd8\xff")
    submit(home, "of-data", data, 1.0)
    write_review(overview_in(folder), key_of(str(data)), data, suspects=15)
    _plant_task(home, "1", str(data), json.dumps(check_values(3)), code=1)
    _plant_task(home, "2", str(data), "", code=3)


def _plant_task(home: Path, name: str, subject: str, output: str, *, code: int) -> None:
    """Write a check that has ended."""
    task = tasks_folder(home) / name
    task.mkdir(parents=True)
    command = ["breedclf", "data", "check", subject]
    values = {"pid": 1, "create_time": 1.0, "kind": CHECK, "subject": subject, "command": command, "started": NOW}
    (task / TASK_FILE).write_text(json.dumps(values), encoding="utf-8")
    (task / ENDED_FILE).write_text(json.dumps({"exit_code": code, "time": NOW + 2}), encoding="utf-8")
    (task / OUTPUT_FILE).write_text(output, encoding="utf-8")
    (task / LOG_FILE).write_text("50%\r100%\nsomething was said\n", encoding="utf-8")


def _plant_runs(runs: Path) -> None:
    slow_profile().save(runs / "slow" / "profile.json")
    write_verification(VERIFIED, runs / "slow")
    add_journey(runs / "done")
    (runs / "done/journey.html").write_text("<!doctype html><title>a journey</title>", encoding="utf-8")
    add_journey(runs / "refused", last="gate", status="Refused")
    add_journey(runs / "going-on", last="tune", status="InProgress")
    add_journey(runs / "dead", last="tune", status="InProgress", run_by=DEAD)
    (runs / "damaged").mkdir()
    (runs / "damaged/journey.json").write_text("{", encoding="utf-8")
