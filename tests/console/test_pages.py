"""The pages as the server sends them, and as a browser shows them."""

from __future__ import annotations

from pathlib import Path

from breedclf.jobs import JobStatus
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import add_job, running_console


def test_jobs_and_a_job_are_shown_and_searched(tmp_path: Path) -> None:
    add_job(tmp_path, "dogs", epochs=3, log="epoch 1/3\nepoch 2/3\n")
    add_job(tmp_path, "cats", status=JobStatus.FAILED)
    with running_console(tmp_path) as running, running.client() as client:
        page = client.get("/jobs").text
        assert "dogs" in page
        assert "cats" in page
        found = client.get("/jobs", params={"words": "DOG"}).text
        assert "dogs" in found
        assert "cats" not in found
        assert "epoch 2/3" in client.get("/jobs/dogs").text
        assert [job["name"] for job in client.get("/api/jobs").json()] == ["cats", "dogs"]
        assert client.get("/jobs/birds").status_code == 404


def test_a_job_that_starts_is_seen_without_a_reload(tmp_path: Path, chromium: Browser) -> None:
    add_job(tmp_path, "first")
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        chromium.open(running.page("/jobs"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        add_job(tmp_path, "second")
        chromium.until("document.getElementById('jobs').textContent.includes('second')", seconds=10)
        assert chromium.run("location.search") == ""
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []


def test_names_with_markup_are_text(tmp_path: Path) -> None:
    add_job(tmp_path, "dogs", log="<script>alert(1)</script>")
    with running_console(tmp_path) as running, running.client() as client:
        page = client.get("/jobs/dogs").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert read_page(page).text.count("alert(1)") == 1
