"""The shell of every report: self-contained, escaped, and refused when it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

from breedclf.reporting import Section, blocks, render_page
from breedclf.reporting.formats import percent
from breedclf.reporting.page import TEMPLATES, render
from breedclf.testing.pages import read_page


def test_page_holds_its_parts_and_nothing_from_outside() -> None:
    sections = [Section("First part", ["Some words."], lead="An introduction."), Section("Second"), Section("Third")]

    html = render_page("A report", sections, subtitle="of a model", summary=[blocks.callout("ok", "All is well")])
    page = read_page(html)

    assert page.problems == []
    assert html.startswith("<!doctype html>")
    for words in ("A report", "of a model", "All is well", "First part", "An introduction.", "Some words.", "Third"):
        assert words in page.text
    assert 'href="#first-part"' in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_text_from_outside_is_escaped_everywhere() -> None:
    nasty = '<script>alert("x")</script>'
    html = render_page(
        nasty,
        [Section(nasty, [nasty, blocks.table(nasty, [nasty], [[nasty]]), blocks.facts([(nasty, nasty)])], lead=nasty)],
        subtitle=nasty,
        summary=[blocks.tiles([blocks.Tile(nasty, nasty, nasty)]), blocks.callout("bad", nasty, nasty)],
    )

    assert "<script" not in html
    assert read_page(html).problems == []
    assert nasty in read_page(html).text


def test_markup_goes_in_as_it_is() -> None:
    assert "<b>bold</b>" in render_page("Title", [Section("One", [Markup("<b>bold</b>")])])


def test_the_footer_has_the_time_only_if_given() -> None:
    made_at = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
    assert "2026-11-22 08:30 UTC" in render_page("Title", [], made_at=made_at)
    assert render_page("Title", []) == render_page("Title", [])
    assert "<time" not in render_page("Title", [])


def test_table_formats_cells_and_says_when_empty() -> None:
    columns = ["class", blocks.Column("recall", numeric=True, format=percent)]
    html = blocks.table("Classes", columns, [["Pug", 0.5], ["Beagle", None]])
    assert "50%" in html
    assert "–" in html
    assert "Nothing to see." in blocks.table("Classes", columns, [], empty="Nothing to see.")
    with pytest.raises(ValueError, match=r"argument 2 is (longer|shorter)"):
        blocks.table("Classes", columns, [["Pug"]])


def test_images_are_held_in_the_page() -> None:
    html = blocks.gallery([blocks.GalleryImage(b"\xff\xd8jpeg", "an ant", ["ants", "named bees"])])
    assert 'src="data:image/jpeg;base64,/9hqcGVn"' in html
    assert 'alt="an ant"' in html
    assert read_page(html).problems == []


def test_bullets_and_details_escape_text() -> None:
    assert "&lt;i&gt;" in blocks.bullets(["<i>", Markup("<b>x</b>")])
    assert "<p>&lt;i&gt;</p>" in blocks.details("More", "<i>")


def test_a_value_missing_from_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("page.html.j2", title="only this")


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<p><b>x</p>", "</p> closes <b>"),
        ("<p>x", "<p> is never closed"),
        ('<a href="https://example.com">x</a>', "<a href> is external: https://example.com"),
        ('<a href="#nowhere">x</a>', "the link #nowhere has no target"),
        ('<p id="a">x</p><p id="a">y</p>', "id 'a' is used twice"),
        ('<img src="data:,">', "an image has no alt text"),
        ("<style>p { background: url(x.png) }</style>", "the style sheet fetches url(x.png)"),
        ("<script>x()</script>", "the page runs a script"),
    ],
)
def test_reader_of_pages_finds_what_is_wrong(html: str, problem: str) -> None:
    assert problem in read_page(html).problems


def test_templates_lie_inside_the_package(project_root: Path) -> None:
    folder = project_root / "src" / "breedclf" / "reporting" / TEMPLATES
    assert {path.name for path in folder.iterdir()} >= {"page.html.j2", "blocks.html.j2", "style.css"}
