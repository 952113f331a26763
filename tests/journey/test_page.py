"""The page of a journey: its facts, its states, and that nothing in it comes from outside or is read as HTML."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from breedclf.journey.page.parts import HEADINGS
from breedclf.journey.page.story import journey_page, state_of
from breedclf.journey.record import JourneyRecord, Outcome, StepRecord
from breedclf.journey.settings import STEPS
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.journey.page_examples import JPEG, REPORTS, evaluation, finished, material, values_of_steps


def _problems(html: str) -> list[str]:
    """What is wrong with a page, besides its links to the steps' own reports."""
    reports = {f"<a href> is external: {report}" for report in REPORTS.values()}
    return [problem for problem in read_page(html).problems if problem not in reports]


class _Outline(HTMLParser):
    """Levels of headings, links, and how many images have which text alternative."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            self.alts.append(values["alt"])


def test_every_step_has_a_heading() -> None:
    assert tuple(HEADINGS) == STEPS


@pytest.mark.parametrize(
    "fact",
    [
        "The journey of insects",
        "Version 2 of insects was tuned, checked and deployed",
        "120 train, 50 valid, 50 test",
        "the same as another",
        "best: learning_rate 0.005, batch_size 32, epochs 2",
        "1 of the other 2 trials is significantly less accurate",
        "with 3 other seeds",
        "2 0.1200 0.0200 0.4 level: may be chance",
        "Dataloader : 60% is waiting. Use more workers.",
        "workers = 2 10 s 5 s 2x faster",
        "9 of 10 images classified correctly: 90%.",
        "predicted ants, 80%",
        "it gives every image one of its classes",
        "looks like ants",
        "wrong with 93%",
        "accuracy passed 90.0%, baseline 50.0%",
        "insects (fingerprint abcdef012345)",
        "2 live 90% 2026-11-02 00:00",
        "1 previous 90% 2026-11-01 00:00",
        "http://127.0.0.1:8080",
        "class activation map; they are exact",
        "97%",
        "none of these",
        "1 min 6 s in all",
        "breedclf.tune('insects')",
        "breedclf tune insects",
    ],
)
def test_the_page_has_the_facts_of_every_step(fact: str) -> None:
    assert fact in read_page(journey_page(finished(), material())).text


def test_the_page_is_sound() -> None:
    html = journey_page(finished(), material())
    outline = _Outline(html)
    assert _problems(html) == []
    assert html == journey_page(finished(), material())
    assert outline.levels[:2] == [1, 2]
    assert all(after <= before + 1 for before, after in zip(outline.levels, outline.levels[1:], strict=False))
    assert outline.alts.count("a training image of ants") == 1
    assert len(outline.alts) == html.count(base64.b64encode(JPEG).decode()) == 5
    assert "" not in outline.alts
    outside = [link for link in outline.links if not link.startswith("#")]
    assert outside == ["tuning.html", "profile/report.html", "evaluation/report.html"]


def test_a_report_elsewhere_has_no_link() -> None:
    record = finished()
    steps = [
        step.model_copy(update={"outcome": step.outcome.model_copy(update={"report": report})})
        for step, report in zip(record.steps, ("/elsewhere/report.html", "a report.html"), strict=False)
    ]
    html = journey_page(JourneyRecord(steps=tuple(steps)), material())
    assert "/elsewhere" not in html
    assert 'href="a%20report.html"' in html


def test_names_from_outside_are_escaped() -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=y>'
    values = values_of_steps(class_name=hostile, path=f"test/{hostile}.jpg")
    found = material(name=hostile, data=hostile, jpegs=dict.fromkeys(_images(values), JPEG))
    html = journey_page(finished(values), found)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert _problems(html) == []
    assert hostile in read_page(html).text


def _images(values: dict[str, dict[str, object]]) -> list[str]:
    return ["train/ants/1.jpg", "train/bees/2.jpg", str(values["predict"]["images"][0]["path"]), "explanations/1.jpg"]  # type: ignore[index]


def test_undecodable_names_can_be_written() -> None:
    html = journey_page(finished(values_of_steps(class_name="caf\udce9")), material())
    assert b"caf\\xe9" in html.encode()


@pytest.mark.parametrize(
    ("record", "tone", "words"),
    [
        (JourneyRecord(), "info", "Under way: 0 of 12 steps are done Next: the data."),
        (finished(last="tune"), "info", "Under way: 3 of 12 steps are done Next: the best settings."),
        (finished(last="tune", status="InProgress"), "info", "Under way: 2 of 12 steps are done Next: the search."),
        (finished(last="tune", status="Failed"), "bad", "Step 3 of 12 failed: the search Step tune says this."),
        (finished(last="gate", status="Refused"), "issue", "The gate refused the model Step gate says this."),
        (finished(), "ok", "was tuned, checked and deployed"),
    ],
    ids=["nothing", "under-way", "in-progress", "failed", "refused", "finished"],
)
def test_the_top_says_what_came_of_it(record: JourneyRecord, tone: str, words: str) -> None:
    html = journey_page(record, material())
    page = read_page(html)
    assert _problems(html) == []
    assert state_of(record).tone == tone
    assert words in page.text
    assert page.text.index(words) < page.text.index("The labels"), "above the sections"
    assert page.text.count("not yet") == len(STEPS) - len(record.steps)


def test_files_that_are_gone_are_said_to_be() -> None:
    text = read_page(journey_page(finished(), material(study=None, evaluation=None, model=None, jpegs={}))).text
    for words in (
        "The files of the search are gone",
        "evaluation/metrics.json is gone or damaged",
        "The store can't be read",
    ):
        assert words in text


def test_a_version_that_was_removed_is_said_to_be() -> None:
    values = values_of_steps()
    values["register"]["version"] = 3
    assert "Version 3 was removed from the store since." in read_page(journey_page(finished(values), material())).text


def test_values_of_another_version_are_left_out() -> None:
    values = values_of_steps()
    values["check"]["examples"] = [{"file": "1.jpg"}, "2.jpg"]
    values["tune"]["confirmation"] = {"trials": [{"mean": 0.1}]}
    values["best"]["epochs"] = "none"
    values["profile"]["figures"] = {"time": "long"}
    values["review"]["first"] = None
    values["predict"]["images"][0]["explanation"] = {"png": ""}
    html = journey_page(finished(values), material())
    page = read_page(html)
    assert _problems(html) == []
    assert "Loss by epoch" not in page.text
    assert "Time of the run" not in page.text


def test_a_step_of_a_newer_version_is_shown_by_its_name() -> None:
    step = StepRecord(
        name="polish", status="Completed", inputs={}, seconds=1, outcome=Outcome(headline="Shiny."),
        python="", command="",
    )  # fmt: skip
    text = read_page(journey_page(JourneyRecord(steps=(step,)), material())).text
    assert "polish Shiny." in text


LONG = "Soft_coated_wheaten_terrier_and_others_of_this_group" * 2

# Texts whose contrast with the background is below 4.5, as WCAG 2.2 computes it (success criterion 1.4.3).
TOO_FAINT = """
(() => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = color.slice(0, 3).map(part => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const color = numbers(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter(node => !node.closest("svg") &&
    [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()));
  return texts.filter(node => {
    const [one, other] = [light(numbers(getComputedStyle(node).color)), light(behind(node))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5;
  }).map(node => node.textContent.trim().slice(0, 60));
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_phones_and_can_be_read(chromium: Browser, tmp_path: Path, dark: bool) -> None:
    values = values_of_steps(class_name=LONG)
    page = tmp_path / "journey.html"
    page.write_text(journey_page(finished(values), material(evaluation=evaluation(LONG))), encoding="utf-8")
    chromium.open(page.as_uri(), width=390, dark=dark)
    chromium.run("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert chromium.run("document.documentElement.scrollWidth") <= 390
    assert chromium.run(TOO_FAINT) == []
    assert ("heading", "3. The search") in chromium.accessible_names()
