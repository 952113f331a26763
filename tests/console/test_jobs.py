"""The pages of jobs: real jobs, damaged ones, 10,000 of them, logs of a gigabyte, and whatever texts may hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from breedclf import ModelStore
from breedclf.backends.common.folder import JobFolder
from breedclf.backends.registry import backend_named
from breedclf.jobs import JobSpec, JobStatus
from breedclf.jobs.handle import Job
from breedclf.overview.logs import PART_BYTES
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import add_job, overview_in, running_console
from tests.model_store.stored import write_model

SCRIPT = """
import sys
print("\\x1b[1mbegin\\x1b[0m <b>dogs</b>", flush=True)
for epoch in (1, 2, 3):
    print("step 1/9\\rstep 9/9")
    print(f'breedclf-metrics {{"epoch": {epoch}, "train_loss": {1 / epoch}, "valid_loss": {2 / epoch}}}', flush=True)
print("no more dogs", flush=True)
sys.exit(7)
"""


def changed(folder: JobFolder, **changes: Any) -> None:
    state = folder.read()
    folder.write(replace(state, description=replace(state.description, **changes)))


def many(folder: Path, count: int) -> None:
    """Ended jobs `job-00000` and on, copies of one that is written first."""
    first = add_job(folder, "template", created=1_700_000_000.0)
    text = first.state_file.read_text()
    for number in range(count - 1):
        name = f"job-{number:05}"
        (first.path.parent / name).mkdir()
        copy = text.replace('"template"', f'"{name}"').replace("1700000000.0", f"{1_700_000_001.0 + number}")
        (first.path.parent / name / "job.json").write_text(copy)


def test_a_real_job_shows_its_course(tmp_path: Path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "train.py").write_text(SCRIPT)
    backend = backend_named("local", home=tmp_path / "home")
    backend.submit(JobSpec("real", {"epochs": "3"}, source=source, cores=1))
    Job("real", backend).wait(check=False)
    with running_console(tmp_path) as running, running.client() as client:
        page = client.get("/jobs/real").text
        text = read_page(page).text
        assert "exit code 7" in text
        assert "begin <b>dogs</b>" in text
        assert "step 1/9" not in text
        assert "breedclf-metrics" not in text
        assert page.count("<figure") == 1
        assert [word for word in ("train loss", "valid loss", "Downloading", "Uploading") if word not in text] == []
        download = client.get("/jobs/real/log.txt")
        assert "breedclf-metrics" in download.text
        assert download.headers["content-disposition"] == 'attachment; filename="real.log.txt"'
        assert client.get("/jobs/none/log.txt").status_code == 404


def test_damaged_jobs_and_clocks_that_are_wrong_break_no_page(tmp_path: Path) -> None:
    add_job(tmp_path, "broken").state_file.write_text("{")
    changed(add_job(tmp_path, "future"), created=253_402_300_799.9, started=5.0, ended=1.0)
    add_job(tmp_path, "active", status=JobStatus.IN_PROGRESS, created=4e9, epochs=2)
    changed(add_job(tmp_path, "odd", epochs=2), metrics={"loss": float("nan"), "epoch": 1e300})
    with running_console(tmp_path) as running, running.client() as client:
        page = read_page(client.get("/jobs").text).text
        assert (page.count("Damaged"), page.count("InProgress")) == (2, 2)  # in the table and in the filter
        for name in ("broken", "future", "active", "odd"):
            assert client.get(f"/jobs/{name}").status_code == 200, name
        broken = client.get("/jobs/broken").text
        assert "is damaged" in broken
        assert "breedclf jobs clean broken --backend local" in broken


HOSTILE = "</pre><script>alert(1)</script>\x1b[2J\u202e\"'>"


def test_markup_and_control_characters_are_text_everywhere(tmp_path: Path) -> None:
    folder = add_job(tmp_path, "dogs", log=f"{HOSTILE}\n", epochs=2)
    changed(
        folder,
        failure_reason=HOSTILE,
        hyperparameters={"loss": HOSTILE},
        metrics={HOSTILE: 1.0},
        tags={"breedclf-tuning": HOSTILE},
        details={"model": HOSTILE},
    )
    with running_console(tmp_path) as running, running.client() as client:
        pages = {path: client.get(path).text for path in ("/jobs", "/jobs/dogs", "/jobs/dogs/log")}
    for path, page in pages.items():
        assert "<script>alert" not in page, path
    assert "\x1b" not in pages["/jobs/dogs/log"]
    assert read_page(pages["/jobs/dogs"]).text.count("alert(1)") >= 5


def test_a_log_of_a_gigabyte_is_shown_and_paged(tmp_path: Path) -> None:
    folder = add_job(tmp_path, "big")
    with folder.log_file.open("wb") as file:
        file.write(b"first line\n")
        file.truncate(1 << 30)
        file.seek(1 << 30)
        file.write(b"\nlast line\n")
    with running_console(tmp_path) as running, running.client() as client:
        assert "last line" in client.get("/jobs/big").text
        first = read_page(client.get("/jobs/big/log").text)
        assert "first line" in first.text
        assert "Part 1 of 8,193" in first.text
        last = client.get("/jobs/big/log", params={"position": 1 << 30}).text
        assert "last line" in last
        assert f"/jobs/big/log?position={(1 << 30) - PART_BYTES}" in last


def test_a_thousand_jobs_are_paged_and_searched(tmp_path: Path) -> None:
    many(tmp_path, 1_000)
    with running_console(tmp_path) as running, running.client() as client:
        page = read_page(client.get("/jobs").text)
        assert "1,000 jobs on local" in page.text
        assert "Page 1 of 20" in page.text
        assert "job-00998" in page.text
        assert "job-00123" in read_page(client.get("/jobs", params={"words": "00123"}).text).text
        assert "job-00000" in read_page(client.get("/jobs", params={"page": "20"}).text).text
        listed = client.get("/api/jobs").json()
    assert [job["name"] for job in listed[:2]] == ["template", "job-00000"]
    assert listed == [json.loads(json.dumps(job.to_dict())) for job in overview_in(tmp_path).jobs().value or ()]


def test_an_epoch_that_ends_is_seen_in_an_open_page(tmp_path: Path, chromium: Browser) -> None:
    folder = add_job(tmp_path, "dogs", epochs=1, log="epoch 1\n")
    with running_console(tmp_path) as running:
        chromium.messages.clear()
        chromium.open(running.page("/jobs/dogs"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        folder.add_event("metrics", 1_800_000_002.0, values={"epoch": 2, "train_loss": 0.25})
        with folder.log_file.open("a") as file:
            file.write("epoch 2\n")
        chromium.until("document.querySelector('#curves figure') !== null", seconds=10)
        chromium.until("document.querySelector('#log pre').textContent.endsWith('epoch 2')", seconds=10)
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []


def test_a_job_leads_to_the_versions_of_its_model(tmp_path: Path) -> None:
    source = write_model(add_job(tmp_path, "dogs").model, b"1")
    ModelStore(tmp_path / "models").add(source, name="hounds")
    add_job(tmp_path, "cats")
    with running_console(tmp_path) as running, running.client() as client:
        assert '<a href="/models/hounds/1">hounds, version 1</a>' in client.get("/jobs/dogs").text
        assert "/models/hounds" not in client.get("/jobs/cats").text
