"""Profiles and journeys in the console: pages, reports, links, what is live, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from breedclf import Categorical, GateError, Journey, TrainingConfig
from breedclf.console.reports import REPORT_POLICY
from breedclf.jobs import JobStatus
from breedclf.journey.record import Outcome, RunBy
from breedclf.profiling.verified import write_verification
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import add_job, running_console
from tests.journey.images import write_red_and_blue
from tests.overview.planted import DEAD, VERIFIED, add_journey, add_profile, clean_profile, empty_profile, slow_profile
from tests.waiting import until

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
    write_verification(VERIFIED, tmp_path / "runs" / "slow")
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


def test_a_journey_is_shown_with_its_steps_and_reports(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "dogs"
    add_journey(folder)
    (folder / "tuning.html").write_text("<!doctype html><title>the search</title>")
    (folder / "journey.html").write_text('<!doctype html><a href="tuning.html">the search</a>')
    slow_profile().save(folder / "profile" / "profile.json")
    (tmp_path / "runs" / "secret.html").write_text("secret")
    with running_console(tmp_path) as running, running.client() as client:
        assert "12 of 12" in shown(client.get("/journeys"))
        page = client.get("/journeys/runs.dogs")
        text = shown(page)
        assert "All steps are done" in text
        assert "<title>Completed · Journey dogs · breedclf</title>" in page.text
        assert "12. The end" in text
        assert "breedclf tune insects --learning-rate" in text
        assert "Advice, tried and measured" in text
        assert 'href="/profiles/runs.dogs.profile"' in page.text
        for gone in ("/searches/journey-1", "/models/insects", "/endpoints/insects-1"):
            assert f'href="{gone}"' not in page.text
        report = client.get("/journeys/runs.dogs/files/tuning.html")
        assert report.status_code == 200
        assert "sandbox" in report.headers["content-security-policy"]
        for path in (
            "../secret.html",
            "%2e%2e/secret.html",
            "..%2fsecret.html",
            "journey.json",
            "evaluation/report.html",
        ):
            assert client.get(f"/journeys/runs.dogs/files/{path}").status_code == 404
        assert client.get("/journeys/runs.none/files/tuning.html").status_code == 404


def test_a_damaged_journey_has_a_page_and_markup_is_text(tmp_path: Path) -> None:
    record = add_journey(tmp_path / "runs" / "dogs", last="check", status="Failed")
    failed = record.steps[0].model_copy(update={"outcome": Outcome(headline=NASTY, status="Failed")})
    record.model_copy(update={"steps": (failed,)}).save(tmp_path / "runs" / "dogs")
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "journey.json").write_text("{")
    with running_console(tmp_path) as running, running.client() as client:
        for page in ("/journeys", "/journeys/runs.dogs"):
            assert NASTY not in client.get(page).text
            assert "onerror" in shown(client.get(page))
        assert "Its record can't be read" in shown(client.get("/journeys/runs.bad"))
        assert client.get("/journeys/runs.none").status_code == 404


def test_a_step_is_seen_as_it_changes(tmp_path: Path, chromium: Browser) -> None:
    folder = tmp_path / "runs" / "dogs"
    here = RunBy.this_process()
    add_journey(folder, last="backbones", status="InProgress", run_by=here)
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        chromium.open(running.page("/journeys/runs.dogs"), width=390)
        chromium.until("document.getElementById('connection').textContent === 'live'")
        state = "document.getElementById('state').textContent"
        assert "in step 2, the backbone: 1 of 12" in chromium.run(state)
        add_journey(folder, last="tune", status="InProgress", run_by=here)
        chromium.until(f"{state}.includes('in step 3, the search: 2 of 12')", seconds=10)
        assert chromium.run("document.querySelector('#step-tune time.since') !== null") is True
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth") is True
        add_journey(folder, last="tune", status="InProgress", run_by=DEAD)
        chromium.until(f"{state}.includes('Interrupted in step 3')", seconds=10)
        add_journey(folder)
        (folder / "journey.html").write_text('<!doctype html><a href="tuning.html">the search</a>')
        (folder / "tuning.html").write_text("<!doctype html><title>the search</title><script>document.title=1</script>")
        chromium.until("document.querySelector('#state a[href$=\"journey.html\"]') !== null", seconds=10)
        chromium.run("document.querySelector('#state a[href$=\"journey.html\"]').click()")
        chromium.until("document.querySelector('a[href=\"tuning.html\"]') !== null")
        chromium.run("document.querySelector('a').click()")
        chromium.until("document.title === 'the search'")
    assert [line for line in errors(chromium) if "script" not in line] == []


@pytest.mark.slow
def test_a_real_journey_is_watched_to_its_end(tmp_path: Path, chromium: Browser) -> None:
    images = write_red_and_blue(tmp_path / "images")
    training = TrainingConfig(data=images, architecture="resnet18", weights="none", epochs=2)
    journey = Journey(
        training,
        space={"learning_rate": Categorical(0.005)},
        verify=False,
        output=tmp_path / "runs" / "colors",
        store=tmp_path / "models",
        gate={"baseline": 0.999999},  # it refuses, so that nothing is deployed
    )
    with running_console(tmp_path) as running, ThreadPoolExecutor(1) as thread:
        running_journey = thread.submit(journey.run)
        until(lambda: (tmp_path / "runs" / "colors" / "journey.json").exists())
        chromium.open(running.page("/journeys/runs.colors"))
        chromium.run(
            "window.seen = []; new MutationObserver(() => seen.push(document.getElementById('state').textContent))"
            ".observe(document.getElementById('content'), {childList: true, subtree: true})"
        )
        with pytest.raises(GateError):
            running_journey.result()
        chromium.until("document.getElementById('state').textContent.includes('gate refused')", seconds=10)
        seen = " ".join(chromium.run("seen"))
        assert "Under way in step 3, the search" in seen
        assert "Under way in step 5, where time goes" in seen
        assert "Interrupted" not in seen
        chromium.run("document.querySelector('a[href=\"/profiles/runs.colors.profile\"]').click()")
        chromium.until("document.querySelector('#part-timeline svg') !== null", seconds=10)
        report = chromium.run("document.getElementById('about').textContent")
        assert "runs/colors/profile" in report
