"""Profiles and journeys in the console: pages, reports, links, what is live, and what is refused."""

from __future__ import annotations

from pathlib import Path

import httpx2

from breedclf.console.reports import REPORT_POLICY
from breedclf.jobs import JobStatus
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import add_job, running_console
from tests.overview.planted import VERIFIED, add_profile, clean_profile, empty_profile, slow_profile

NASTY = "<img src=x onerror=alert(1)>"


def shown(answer: httpx2.Response) -> str:
    """The text of a page that is well-formed."""
    assert answer.status_code == 200, answer.text
    page = read_page(answer.text)
    assert [each for each in page.problems if "external" not in each and each != "the page runs a script"] == []
    return page.text


def errors(chromium: Browser) -> list[str]:
    """What the browser complains about, besides the console of an earlier test, which has ended."""
    return [line for line in chromium.messages if not line.startswith("asked ") and "CONNECTION_REFUSED" not in line]


def test_profiles_are_listed_with_their_verdicts_and_shown(tmp_path: Path) -> None:
    add_profile(add_job(tmp_path, "dogs"), clean_profile())
    slow_profile().save(tmp_path / "runs" / "slow" / "profile.json")
    VERIFIED.save(tmp_path / "runs" / "slow")
    with running_console(tmp_path) as running, running.client() as client:
        listed = client.get("/profiles")
        assert "No issues found" in shown(listed)
        assert "Measurably faster: workers = 2" in shown(listed)
        assert 'href="/jobs/dogs"' in listed.text

        page = client.get("/profiles/runs.slow")
        text = shown(page)
        first, timeline, rest = (text.index(each) for each in ("Measured:", "Timeline of the run", "Machine usage"))
        assert first < timeline < rest
        assert "breedclf profile" in text
        assert 'style="' not in page.text

        report = client.get("/profiles/runs.slow/report")
        assert report.headers["content-security-policy"] == REPORT_POLICY
        assert "Profile of slow" in shown(report)
        for missing in ("/profiles/runs.none", "/profiles/runs.none/report", "/profiles/..%2f..%2fhome/report"):
            assert client.get(missing).status_code == 404


def test_many_profiles_have_pages(tmp_path: Path) -> None:
    text = empty_profile().to_json()
    for number in range(120):
        (tmp_path / "runs" / f"run-{number:03}").mkdir(parents=True)
        (tmp_path / "runs" / f"run-{number:03}" / "profile.json").write_text(text)
    with running_console(tmp_path) as running, running.client() as client:
        assert "Page 1 of 3" in shown(client.get("/profiles"))
        assert client.get("/profiles?page=3").text.count("/profiles/runs.run-") == 20
        assert "Page 3 of 3" in client.get("/profiles?page=999999").text


def test_names_in_profiles_are_text(tmp_path: Path) -> None:
    slow_profile(NASTY).save(tmp_path / "runs" / NASTY.replace("/", "") / "profile.json")
    with running_console(tmp_path) as running, running.client() as client:
        listed = client.get("/profiles").text
        assert NASTY not in listed
        name = listed.partition('href="/profiles/')[2].partition('"')[0]
        for page in (f"/profiles/{name}", f"/profiles/{name}/report"):
            assert NASTY not in client.get(page).text
            assert "onerror" in shown(client.get(page))


def test_a_profile_grows_while_its_job_runs(tmp_path: Path, chromium: Browser) -> None:
    job = add_job(tmp_path, "dogs", status=JobStatus.IN_PROGRESS)
    add_profile(job, empty_profile())
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        chromium.open(running.page("/profiles/dogs"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        assert "Nothing can be said yet" in chromium.run("document.getElementById('verdict').textContent")
        add_profile(job, slow_profile())
        chromium.until("document.querySelector('#part-timeline svg') !== null", seconds=10)
        assert "SlowReader" in chromium.run("document.getElementById('verdict').textContent")
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth") is True
    assert errors(chromium) == []


def test_a_report_opens_from_its_profile(tmp_path: Path, chromium: Browser) -> None:
    slow_profile().save(tmp_path / "runs" / "slow" / "profile.json")
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        chromium.open(running.page("/profiles/runs.slow"), width=390)
        chromium.run("document.querySelector('a[href$=\"/report\"]').click()")
        chromium.until("location.pathname.endsWith('/report') && document.querySelector('svg') !== null")
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth") is True
        assert chromium.run("document.styleSheets.length") == 1
    assert errors(chromium) == []
