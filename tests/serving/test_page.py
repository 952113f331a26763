"""The page in a real browser: classifying an image, for keyboard, screen reader and phone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from breedclf.inference.classifier import Classifier
from breedclf.serving.core import Limits
from breedclf.serving.http.app import Service
from breedclf.serving.http.web_page import PAGE_TYPES, page_file
from breedclf.testing.pages import read_page
from tests.serving.browser import Browser, browser, find_chromium
from tests.serving.conftest import draw, encode, running

TOKEN = "a-token-of-some-length"
SHOWN = "!document.getElementById('result').hidden"
SCREENSHOTS = os.environ.get("SCREENSHOT_DIR")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine")
    with browser(program) as started:
        yield started


def _file(folder: Path, name: str = "rex.png", seed: int = 5) -> Path:
    path = folder / name
    kind = {".jpg": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP"}[path.suffix]
    path.write_bytes(encode(draw(seed, width=640, height=480), kind))
    return path


def _look(page: Browser, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(Path(SCREENSHOTS) / f"{name}.png")


def _rows(page: Browser) -> list[str]:
    rows: list[str] = page.run("[...document.querySelectorAll('#ranked .class')].map(each => each.textContent)")
    return rows


def test_the_page_holds_nothing_from_outside() -> None:
    problems = read_page(page_file("index.html").decode()).problems
    assert [each for each in problems if "page.css" not in each and "script" not in each] == []
    for name in PAGE_TYPES:
        assert b"http://" not in page_file(name).replace(b"http://www.w3.org", b"")
        assert b"https://" not in page_file(name)


def test_an_image_is_shown_with_its_classes(chromium: Browser, server_url: str, model: Path, tmp_path: Path) -> None:
    chromium.messages.clear()
    chromium.open(server_url)
    file = _file(tmp_path)
    chromium.choose("#file", file)
    chromium.until(SHOWN)
    expected = Classifier(model).predict(file)
    assert _rows(chromium) == [each.class_name for each in expected.ranked]
    assert chromium.run("document.getElementById('result-heading').textContent") == expected.best.class_name
    shares = chromium.run("[...document.querySelectorAll('#ranked .share')].map(each => each.textContent)")
    assert shares == [f"{each.probability:.1%}" for each in expected.ranked]
    assert chromium.run("document.getElementById('image').naturalWidth") == 640
    visible = "[...document.querySelectorAll('#ranked li')].filter(each => !each.hidden).length"
    assert chromium.run(visible) == 5
    chromium.run("document.getElementById('more').click()")
    assert chromium.run(visible) == 7
    asked = [line for line in chromium.messages if line.startswith("asked ")]
    assert [line for line in asked if server_url not in line and "blob:" not in line and "data:" not in line] == []
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []
    _look(chromium, "light")


def test_it_speaks_to_screen_readers_and_obeys_the_keyboard(chromium: Browser, server_url: str, tmp_path: Path) -> None:
    chromium.open(server_url)
    chromium.press("Tab")
    assert chromium.run("document.activeElement.id") == "file"
    chromium.choose("#file", _file(tmp_path))
    chromium.until(SHOWN)
    assert chromium.run("document.activeElement.id") == "result-heading"
    assert chromium.run("document.getElementById('status').textContent").startswith("Done: ")
    chromium.press("Tab")
    assert chromium.run("document.activeElement.id") == "more"
    chromium.press("Enter")
    assert chromium.run("document.getElementById('more').getAttribute('aria-expanded')") == "true"
    names = chromium.accessible_names()
    assert any(role == "image" and "rex.png" in name for role, name in names)
    assert any(name == "Choose an image" for role, name in names if role == "button"), names
    assert {"main", "heading", "list", "status", "alert"} <= {role for role, _ in names}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_phone(chromium: Browser, server_url: str, tmp_path: Path, dark: bool) -> None:
    chromium.open(server_url, width=360, height=740, dark=dark)
    chromium.choose("#file", _file(tmp_path))
    chromium.until(SHOWN)
    assert chromium.run("document.documentElement.scrollWidth") <= 360
    background = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(17, 20, 25)" if dark else "rgb(245, 246, 248)")
    _look(chromium, f"phone-{'dark' if dark else 'light'}")


def test_dropping_works_like_choosing(chromium: Browser, server_url: str) -> None:
    chromium.open(server_url)
    chromium.run(
        """(async () => {
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 64;
            canvas.getContext('2d').fillRect(10, 10, 30, 30);
            const blob = await new Promise(resolve => canvas.toBlob(resolve, 'image/png'));
            const data = new DataTransfer();
            data.items.add(new File([blob], 'dropped.png', { type: 'image/png' }));
            dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));
        })()"""
    )
    chromium.until(SHOWN)
    assert chromium.run("document.getElementById('name').textContent") == "dropped.png"


def test_a_file_that_is_no_image_is_reported(chromium: Browser, server_url: str, tmp_path: Path) -> None:
    chromium.open(server_url)
    broken = tmp_path / "broken.png"
    broken.write_bytes(encode(draw(), "PNG")[:200])
    chromium.choose("#file", broken)
    chromium.until("document.getElementById('error').textContent.startsWith('Error: the image')")
    assert chromium.run("document.getElementById('result').hidden") is True
    chromium.choose("#file", _file(tmp_path))
    chromium.until(SHOWN)
    assert chromium.run("document.getElementById('error').textContent") == ""


def test_big_and_foreign_files_are_redrawn_by_the_browser(chromium: Browser, model: Path, tmp_path: Path) -> None:
    with running(model, Service(limits=Limits(max_body_bytes=200_000))) as (url, _):
        chromium.open(url)
        chromium.until("document.getElementById('status').textContent.startsWith('Ready')")
        large = tmp_path / "large.bmp"
        draw(1, width=1200, height=900).save(large)
        chromium.choose("#file", large)
        chromium.until(SHOWN)


def test_a_token_is_requested(chromium: Browser, model: Path, tmp_path: Path) -> None:
    with running(model, Service(token=TOKEN)) as (url, _):
        chromium.open(url)
        chromium.choose("#file", _file(tmp_path))
        chromium.until("document.getElementById('error').textContent.includes('requires an access token')")
        chromium.run(f"document.getElementById('token').value = '{TOKEN}'")
        chromium.run("document.getElementById('token-use').click()")
        chromium.until(SHOWN)


def test_an_unreachable_server_is_reported(chromium: Browser, model: Path, tmp_path: Path) -> None:
    with running(model) as (url, _):
        chromium.open(url)
    chromium.choose("#file", _file(tmp_path))
    chromium.until("document.getElementById('error').textContent.includes(\"server doesn't respond\")")
