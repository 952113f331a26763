"""The pages of datasets: checked and reviewed by a button, with thumbnails, and nothing else of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from breedclf.console.stored_commands import review_command
from breedclf.overview.dataset_findings import review_folder
from breedclf.overview.overview import Overview
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import Running, running_console
from tests.console.test_models import act, all_ended
from tests.console.test_tasks import until
from tests.model_store.networks import write_images
from tests.overview.test_datasets import submit, write_pictures

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images of two classes, one of them named like markup, that a job of a search uses; and a file that is none."""
    root = write_pictures(
        tmp_path / "my dogs", "train/a/1.png", "train/a/2.png", f"train/{MARKUP}/1.png", "valid/a/1.png", side_px=40
    )
    (root / "train/a/bad.jpg").write_bytes(b"\xff\xd8\xff")
    submit(tmp_path / "home", "dogs-1", root, 1.0, **{"breedclf-tuning": "dogs"})
    return root


def overview_of(running: Running) -> Overview:
    return running.console.overview("")


def key_in(running: Running) -> str:
    (dataset,) = overview_of(running).datasets().value or ()
    return dataset.key


def write_review(overview: Overview, key: str, data: Path, suspects: int) -> Path:
    folder = review_folder(overview.places.home, key)
    folder.mkdir(parents=True)
    near = [
        {"path": "train/a/2.png", "class": "a", "similarity": 0.98},
        {"path": "../secret.png", "class": MARKUP, "similarity": 0.9},
        {"path": "train/a/bad.jpg", "class": "a", "similarity": 0.9},
    ]
    found = {
        "path": "train/a/1.png", "split": "train", "given": "a", "proposed": MARKUP, "probability_wrong": 0.87,
        "confidence": 0.1, "neighbours": near,
    }  # fmt: skip
    pair = {"paths": ["train/a/1.png", "valid/a/1.png"], "splits": ["train", "valid"], "labels": ["a", "a"]}
    document = {
        "folder": str(data), "count": 5, "suspects": [found] * suspects, "refused": None, "accuracy": 0.9,
        "expected_precision": 0.8, "skipped": [f"{MARKUP} is damaged"],
        "near_duplicates": [{**pair, "similarity": 0.999, "across_splits": True}],
        "outliers": [{"path": "train/a/2.png", "split": "train", "given": "a", "distance": 0.7}],
    }  # fmt: skip
    (folder / "review.json").write_text(json.dumps(document))
    (folder / "moves.csv").write_text(f"path,given,action,to\ntrain/a/1.png,a,move,{MARKUP}\n")
    return folder


def test_a_review_is_shown_with_thumbnails_of_the_dataset_alone(tmp_path: Path, data: Path) -> None:
    write_pictures(tmp_path, "secret.png")
    with running_console(tmp_path) as running, running.client() as client:
        key = key_in(running)
        write_review(overview_of(running), key, data, suspects=30)
        page = client.get(f"/data/{key}").text
        assert page.count('class="near"') == 12
        assert "is no image of this dataset" not in page
        text = read_page(page).text
        assert "is outside this dataset" in text
        assert "can't be decoded" in text
        assert "wrong with 87%" in text
        assert "1 group of images" in text
        assert f"breedclf data review '{data}' --architecture resnet18" not in text, "its weights aren't known"
        assert "-corrected" in text
        assert MARKUP not in page
        assert "Less suspicious" in page
        last = client.get(f"/data/{key}", params={"suspects": "3"}).text
        assert last.count('class="near"') == 6
        assert client.get(f"/data/{key}", params={"suspects": "9" * 4000}).status_code == 200
        assert "30 suspects" in client.get("/data").text
        shutil.rmtree(data)
        gone = client.get(f"/data/{key}")
        assert gone.status_code == 200
        assert "no longer there" in gone.text
        assert "no longer there" in client.get("/data").text
        assert act(running, "check-data", data=key) == (409, f"{data} is gone")
        assert client.get("/data/other-12345678").status_code == 404


def test_a_dataset_is_checked_in_a_browser_and_the_result_outlives_the_console(
    tmp_path: Path, data: Path, chromium: Browser
) -> None:
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        key = key_in(running)
        chromium.open(running.page(f"/data/{key}"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        command = chromium.run("document.querySelector('[data-action=check-data] ~ code').textContent")
        assert command == f"breedclf data check '{data}'"
        chromium.run("document.querySelector('[data-action=check-data]').click()")
        chromium.until("document.getElementById('message').textContent.includes('Checking')")
    with running_console(tmp_path) as running, running.client() as client:
        until(lambda: all_ended(running))
        text = read_page(client.get(f"/data/{key}").text).text
        assert "4 of 5 can be read" in text
        assert "bad.jpg" in text
        assert "problems" in read_page(client.get("/data").text).text
        listed = client.get("/api/datasets").json()
    assert listed[0]["uses"] == [{"kind": "job", "name": "dogs-1", "search": "dogs"}]
    quiet = [line for line in chromium.messages if not line.startswith("asked ") and "ERR_" not in line]
    assert quiet == []


@pytest.mark.slow
def test_labels_are_reviewed_with_the_network_of_the_last_job(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", test=4)
    submit(tmp_path / "home", "dogs-1", data, 1.0)
    state = tmp_path / "home/jobs/dogs-1/job.json"
    values = json.loads(state.read_text())
    values["spec"]["hyperparameters"] |= {"weights": "none"}
    state.write_text(json.dumps(values))
    with running_console(tmp_path) as running, running.client() as client:
        key = key_in(running)
        dataset = overview_of(running).dataset(key)
        command = review_command(dataset, overview_of(running).places.home)
        assert command[4:8] == ["--architecture", "resnet18", "--weights", "none"]
        assert act(running, "review-data", data=key)[0] == 200
        until(lambda: all_ended(running), 120)
        (task,) = overview_of(running).tasks().value or ()
        assert task.status == "Completed", task.log()
        assert "Review of the labels" in read_page(client.get(f"/data/{key}").text).text
    assert (review_folder(tmp_path / "home", key) / "report.html").is_file()
