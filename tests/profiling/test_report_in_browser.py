"""The report of a long run in a real browser: it opens offline at once, asks for nothing, and is light or dark."""

from __future__ import annotations

import os
from pathlib import Path

from breedclf.profiling.report import render_report
from breedclf.profiling.rules import check
from tests.browser import Browser
from tests.profiling import planted_profiles as planted
from tests.profiling.planted_faults import FAULTS

SCREENSHOTS = os.environ.get("SCREENSHOT_DIR")
# Milliseconds since the start of navigation. Layout is forced, so that the page is complete and isn't only read.
OPENED_MS = "document.body.getBoundingClientRect().height > 0 ? performance.now() : 1e9"


def write_report(path: Path, **parts: object) -> Path:
    profile = planted.clean(**parts)
    path.write_text(render_report(profile, check(profile)), encoding="utf-8")
    return path


def test_the_report_of_a_hundred_thousand_steps_opens_in_a_second(chromium: Browser, tmp_path: Path) -> None:
    draw = planted.random()
    steps = planted.steps(duration=4e-3 * (1 + 0.1 * draw.standard_normal(100_000)))
    page = write_report(tmp_path / "report.html", steps=steps)
    chromium.messages.clear()
    taken = []
    for _ in range(3):  # the machine may be busy with something else just now
        chromium.open("about:blank")
        chromium.open(page.as_uri())
        taken.append(chromium.run(OPENED_MS))
    assert min(taken) < 1_000, taken
    asked = [line for line in chromium.messages if line.startswith("asked ")]
    assert {line for line in asked if "about:blank" not in line} == {f"asked {page.as_uri()}"}
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []


def test_the_page_is_light_or_dark_and_fits_a_phone(chromium: Browser, tmp_path: Path) -> None:
    profile = FAULTS["no workers"][2]()
    page = tmp_path / "report.html"
    page.write_text(render_report(profile, check(profile)), encoding="utf-8")
    colours = []
    for dark in (False, True):
        chromium.open(page.as_uri(), dark=dark)
        colours.append(chromium.run("getComputedStyle(document.body).backgroundColor"))
        if SCREENSHOTS:
            chromium.screenshot(Path(SCREENSHOTS) / f"profile-{'dark' if dark else 'light'}.png")
    assert colours == ["rgb(245, 246, 248)", "rgb(17, 20, 25)"]
    chromium.open(page.as_uri(), width=360)
    assert chromium.run("document.documentElement.scrollWidth") <= 360
