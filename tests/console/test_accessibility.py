"""The pages for everyone: axe-core finds nothing, the keyboard is enough, and nothing moves under the reader's eyes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from filelock import FileLock

from breedclf.console.app import navigation, page_at
from breedclf.console.pages import PAGES
from breedclf.jobs import JobStatus
from tests.browser import Browser
from tests.console.axe import install_axe, violations
from tests.console.everything import each_kind, plant_everything
from tests.console.running import Running, add_job, running_console

WIDE, PHONE = 1300, 390
ZOOMED = 320  # a window of 1280 pixels at 400%
_FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']"


@pytest.fixture(scope="session")
def axe(shared_folder: Path, project_root: Path) -> str:
    """axe-core's script; tests that need it are skipped where npm can't get it."""
    folder = shared_folder / "axe"
    with FileLock(shared_folder / "axe.lock"):
        if not (folder / "outcome.json").is_file():
            outcome = install_axe(folder, project_root / ".venv-types" / "bin")
            folder.mkdir(exist_ok=True)
            (folder / "outcome.json").write_text(json.dumps(outcome))
    script, problem = json.loads((folder / "outcome.json").read_text())
    if problem:
        pytest.skip(problem)
    return str(script)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with something of each kind."""
    folder = tmp_path_factory.mktemp("console")
    plant_everything(folder)
    return folder


@pytest.fixture(scope="module")
def running(everything: Path) -> Iterator[Running]:
    """A console with something of each kind."""
    with running_console(everything) as started:
        yield started


def overflow(page: Browser) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def complaints(page: Browser, running: Running) -> list[str]:
    """What the browser says about the page, and what the page asks for elsewhere."""
    own = (f"asked {running.url}/", "asked data:", "asked blob:")
    return [line for line in page.messages if not line.startswith(own)]


def test_the_pages_are_of_each_kind(everything: Path, running: Running) -> None:
    paths = [unquote(path.partition("?")[0]) for path in each_kind(everything)]
    assert {page_at(path)[0] for path in paths} == set(PAGES)
    with running.client() as client:
        assert [client.get(path).status_code for path in each_kind(everything)] == [200] * (len(paths) - 1) + [404]


def test_axe_and_the_browser_find_nothing(everything: Path, running: Running, chromium: Browser, axe: str) -> None:
    paths = each_kind(everything)
    for_axe = {page_at(unquote(path.partition("?")[0]))[0]: path for path in paths[:-1]}  # the last of each kind
    chromium.open(running.page("/jobs"), width=WIDE)
    for path in paths:
        chromium.messages.clear()
        chromium.open(f"{running.url}{path}", width=WIDE)
        if path in (*for_axe.values(), paths[-1]):
            assert violations(chromium, axe) == [], path
        assert overflow(chromium) <= 0, path
        found = complaints(chromium, running)
        if path == "/jobs/no-such-job":
            assert len(found) == 1
            assert "404" in found[0]
        else:
            assert found == [], path


@pytest.mark.slow
def test_axe_finds_nothing_in_any_look(everything: Path, running: Running, chromium: Browser, axe: str) -> None:
    for path in each_kind(everything):
        chromium.open(running.page(path), width=WIDE)
        assert violations(chromium, axe) == [], (path, "wide")
        chromium.look(width=WIDE, dark=True)
        assert violations(chromium, axe, rules=("color-contrast",)) == [], (path, "dark")
        chromium.look(width=PHONE)
        assert violations(chromium, axe) == [], path
        assert overflow(chromium) <= 0, path
        chromium.look(width=PHONE, dark=True)
        assert violations(chromium, axe, rules=("color-contrast",)) == [], (path, "dark")
        chromium.look(width=ZOOMED)
        assert overflow(chromium) <= 0, (path, "zoomed")


@pytest.mark.slow
def test_axe_finds_nothing_where_nothing_may_be_done(everything: Path, chromium: Browser, axe: str) -> None:
    with running_console(everything, read_only=True) as running:
        for path in each_kind(everything):
            chromium.open(running.page(path), width=WIDE)
            assert violations(chromium, axe) == [], path
            assert not chromium.run("document.querySelector('[data-action]')"), path


def test_axe_finds_nothing_where_there_is_nothing(tmp_path: Path, chromium: Browser, axe: str) -> None:
    with running_console(tmp_path) as running:
        chromium.open(running.page("/jobs"), width=PHONE)
        for path, _ in navigation():
            chromium.open(running.url + path, width=PHONE)
            assert violations(chromium, axe) == [], path
            assert overflow(chromium) <= 0, path


def test_the_keyboard_reaches_everything_and_shows_where_it_is(running: Running, chromium: Browser) -> None:
    chromium.open(running.page("/jobs/dogs-2"))
    everything = chromium.run(
        f"[...document.querySelectorAll({_FOCUSABLE!r})].filter((each) => each.checkVisibility()).length"
    )
    chromium.run("window.reached = new Set(); true")
    for _ in range(everything):
        chromium.press("Tab")
        assert chromium.run(
            "reached.add(document.activeElement); getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
    assert chromium.run("reached.size") == everything
    assert chromium.run("[...reached][0].className") == "skip"


def test_a_question_is_answered_by_keyboard_and_gives_the_focus_back(running: Running, chromium: Browser) -> None:
    chromium.open(running.page("/jobs/dogs-2"))
    chromium.run("document.querySelector('button.danger[data-action]').focus()")
    chromium.press("Enter")
    chromium.until("document.getElementById('question').open")
    assert chromium.run("document.activeElement.textContent") == "Cancel"
    chromium.press("Escape")
    chromium.until("!document.getElementById('question').open")
    assert chromium.run("document.activeElement.matches('button.danger[data-action]')")


def test_a_question_that_is_cancelled_and_asked_again_at_once_acts_once(running: Running, chromium: Browser) -> None:
    chromium.open(running.page("/jobs/dogs-2"))
    chromium.until("document.getElementById('connection').textContent === 'live'")
    acted = chromium.run("""
        (async () => {
            let acted = 0;
            window.fetch = async () => {
                acted += 1;
                return Response.json({ error: "not in a test" }, { status: 409 });
            };
            const button = document.querySelector("button.danger[data-action]");
            const answer = (value) => document.querySelector(`#question [value=${value}]`).click();
            const pause = () => new Promise((done) => setTimeout(done, 100));
            const counts = [];
            for (const wait of [async () => {}, pause]) {
                button.click();
                answer("no");
                button.click();
                await wait();
                answer("yes");
                await pause();
                counts.push(acted);
            }
            return counts;
        })()
    """)
    assert acted == [1, 2]


def test_focus_selection_and_layout_stay_while_the_page_changes(tmp_path: Path, chromium: Browser) -> None:
    add_job(tmp_path, "first")
    job = add_job(tmp_path, "going-on", status=JobStatus.IN_PROGRESS, epochs=4, log="epoch 1\n" * 60)
    with running_console(tmp_path) as running:
        chromium.open(running.page("/jobs"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        chromium.run("document.querySelector('a[href=\"/jobs/first\"]').focus()")
        add_job(tmp_path, "second")  # a row above
        chromium.until("document.getElementById('jobs').textContent.includes('second')", seconds=10)
        assert chromium.run("document.activeElement.textContent") == "first"

        chromium.open(running.page("/jobs/going-on"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        chromium.run("""
            window.shifted = 0;
            new PerformanceObserver((list) => { for (const each of list.getEntries()) shifted += each.value; })
                .observe({ type: "layout-shift" });
            document.querySelector("button[data-action]").focus();
            getSelection().selectAllChildren(document.querySelector("#log pre"));
        """)
        with job.log_file.open("a", encoding="utf-8") as log:
            log.write("the last line\n")
        job.add_event("metrics", 1_800_000_009.0, values={"epoch": 5, "train_loss": 0.01})
        chromium.until("document.getElementById('curves').textContent.includes('5')", seconds=10)
        assert not chromium.run("document.getElementById('log').textContent.includes('the last line')")
        assert chromium.run("getSelection().toString().length") > 100
        chromium.run("getSelection().removeAllRanges()")
        chromium.until("document.getElementById('log').textContent.includes('the last line')", seconds=10)
        assert chromium.run("document.activeElement.dataset.action") == "stop-job"
        assert chromium.run("shifted") == 0


def test_times_are_in_the_zone_of_the_reader(running: Running, chromium: Browser) -> None:
    chromium.call("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    try:
        chromium.open(running.page("/jobs/dogs-2"))
        chromium.until("document.querySelector('#state time').dataset.shown")
        shown, title = chromium.run(
            "[document.querySelector('#state time').textContent, document.querySelector('#state time').title]"
        )
    finally:
        chromium.call("Emulation.setTimezoneOverride", timezoneId="")
    assert title == "2027-01-15 08:00:00 UTC"
    assert "5:00:00" in shown


def test_the_tab_says_how_the_job_is_and_an_error_has_a_way_on(running: Running, chromium: Browser) -> None:
    chromium.open(running.page("/jobs/no-such-job"))
    assert chromium.run("document.title") == "This can't be shown · breedclf"
    assert chromium.run("document.querySelectorAll('header nav a').length") >= 1
