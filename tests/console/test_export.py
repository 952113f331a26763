"""`breedclf console --export`: a folder of pages that link to each other, need no server, and hold no secret."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from breedclf.cli import main
from breedclf.console.export import MARKER, export_console
from breedclf.console.static_links import Address, address_of, without_links
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.everything import plant_everything
from tests.console.running import add_job, overview_in

HREF = re.compile(r'\s(?:href|src)="([^"]*)"')


def broken_links(folder: Path) -> list[str]:
    """Addresses in the pages of an export that are neither parts of the page nor files of the export."""
    found = []
    for page in folder.glob("*.html"):
        for address in map(unescape, HREF.findall(page.read_text(encoding="utf-8"))):
            file = address.partition("#")[0]
            if file and not file.startswith("data:") and not (folder / file).is_file():
                found.append(f"{page.name}: {address}")
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of everything, with two pages of jobs, names that differ in case, and a damaged job."""
    folder = tmp_path_factory.mktemp("export")
    for index in range(5, 62):
        add_job(folder, f"dogs-{index}", epochs=2 if index < 8 else 0, created=1_800_000_000.0 + index)
    add_job(folder, "Dogs-1", log="<script>alert(1)</script>")
    add_job(folder, "damaged")
    for file in (folder / "home" / "jobs" / "damaged").glob("*.json"):
        file.write_text("{", encoding="utf-8")
    plant_everything(folder)
    export_console({"local": overview_in(folder)}, folder / "site")
    return folder / "site"


def test_every_job_has_a_page_and_every_link_a_file(exported: Path) -> None:
    files = {path.name for path in exported.iterdir()}
    assert {"index.html", "jobs.html", "jobs+page=2.html", "console.css", "jobs.dogs-59.html"} <= files
    assert len([name for name in files if name.startswith("jobs.")]) >= 60
    assert len({name.casefold() for name in files}) == len(files)
    assert broken_links(exported) == []
    assert json.loads((exported / MARKER).read_text())["files"] == sorted(files - {MARKER})


def test_pages_are_sound_and_can_do_nothing(exported: Path) -> None:
    for page in sorted(exported.glob("*.html")):
        text = page.read_text(encoding="utf-8")
        problems = [each for each in read_page(text).problems if "is external" not in each]
        assert problems == [], page.name
        for word in ("<form", "<script", "<button", "data-action", "token=", "onclick", " style="):
            assert word not in text, (page.name, word)
        assert "default-src 'none'" in unescape(text)
    job = (exported / "jobs.dogs-1.html").read_text(encoding="utf-8")
    assert "breedclf jobs clean dogs-1" in job


def test_an_export_opens_offline(exported: Path, chromium: Browser) -> None:
    chromium.messages.clear()
    chromium.open((exported / "index.html").as_uri())
    chromium.run("document.querySelector('nav a').click()")
    chromium.until("document.title.startsWith('Jobs') && document.readyState === 'complete'")
    assert chromium.run("getComputedStyle(document.querySelector('.bar')).display") == "flex"
    chromium.run("document.querySelector('[rel=next], nav.pages a').click()")
    chromium.until("location.pathname.endsWith('page=2.html')")
    chromium.run("document.querySelector('tbody a').click()")
    chromium.until("document.title.includes('dogs-')")
    asked = [line for line in chromium.messages if line.startswith("asked ")]
    assert [line for line in asked if not line.startswith(("asked file:", "asked data:"))] == []
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []


def test_the_command_replaces_an_earlier_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_job(tmp_path, "dogs")
    arguments = ["console", "--home", str(tmp_path / "home"), "--runs", str(tmp_path / "runs")]
    arguments += ["--store", str(tmp_path / "models"), "--export", str(tmp_path / "site"), "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["folder"] == str(tmp_path / "site")
    assert first["pages"] == len(list((tmp_path / "site").glob("*.html")))
    add_job(tmp_path, "cats")
    assert main(arguments) == 0
    assert (tmp_path / "site" / "jobs.cats.html").is_file()
    (tmp_path / "site" / "mine.txt").write_text("mine")
    assert main(arguments) == 2
    assert "mine.txt" in capsys.readouterr().err


def test_file_names_are_safe_and_differ_whatever_the_name() -> None:
    names = ["dogs", "Dogs", "dogs-", "do.gs", "do_gs", "../..", "..", "con", "a" * 255, "a" * 254, "狗", "كلب"]
    names += ["dogs\n", "<b>", "a b", "a%20b", "page=2", "\udce9", "index"]
    files = [Address("", f"/jobs/{name}").file for name in names]
    assert len({file.casefold() for file in files}) == len(names)
    for file in files:
        assert re.fullmatch(r"jobs\.[a-z0-9.+=_-]+\.html", file), file
        assert len(file) < 230
    assert address_of("", "/jobs", {"page": 2, "words": "a"}) == address_of("", "/jobs", {"words": "a", "page": "2"})
    assert address_of("", "/jobs", {"page": 1, "words": "", "status": 0}).file == "jobs.html"
    assert address_of("emulator", "/jobs", {}).file == "emulator~jobs.html"


def test_only_links_to_missing_files_become_text() -> None:
    html = '<a class="x" href="gone.html">a &amp; b</a>, <a href="here.html#part">here</a>, <a href="gone.html#x">c</a>'
    assert without_links(html, "gone.html".__eq__) == 'a &amp; b, <a href="here.html#part">here</a>, c'
