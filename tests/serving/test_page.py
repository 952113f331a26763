"""The page in a real browser: classifying an image, for keyboard, screen reader and phone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from breedclf.inference.classifier import Classifier
from breedclf.inference.prediction import Prediction
from breedclf.serving.core import Limits
from breedclf.serving.engines.engine import TorchEngine
from breedclf.serving.http.app import Service
from breedclf.serving.http.web_page import PAGE_TYPES, page_file
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.serving.conftest import draw, encode, running, write_tiny_model

TOKEN = "a-token-of-some-length"
SHOWN = "!document.getElementById('result').hidden"
SCREENSHOTS = os.environ.get("SCREENSHOT_DIR")


def _file(folder: Path, name: str = "rex.png", seed: int = 5) -> Path:
    path = folder / name
    kind = {".jpg": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP"}[path.suffix]
    path.write_bytes(encode(draw(seed, width=640, height=480), kind))
    return path


def _look(page: Browser, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(Path(SCREENSHOTS) / f"{name}.png")


def _text(page: Browser, name: str) -> str:
    text: str = page.run(f"document.getElementById('{name}').textContent")
    return text


def _rows(page: Browser) -> list[str]:
    rows: list[str] = page.run("[...document.querySelectorAll('#ranked .class')].map(each => each.textContent)")
    return rows


def test_the_page_holds_nothing_from_outside() -> None:
    problems = read_page(page_file("index.html").decode()).problems
    assert [each for each in problems if ".css" not in each and "script" not in each] == []
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


def _answer(page: Browser, url: str, file: Path, model: Path) -> Prediction:
    page.open(url)
    page.choose("#file", file)
    page.until(SHOWN)
    return Classifier(model).predict(file)


def test_a_known_image_is_within_the_limit(
    chromium: Browser, trusted_url: str, trusted_model: Path, tmp_path: Path
) -> None:
    expected = _answer(chromium, trusted_url, _file(tmp_path), trusted_model)
    assert expected.known
    assert _text(chromium, "result-heading") == expected.best.class_name
    assert ", within the limit of 0.0" in _text(chromium, "distance-words")
    assert _text(chromium, "distance-words") in _text(chromium, "status")
    assert _text(chromium, "meaning-kept") == "95% of 40 images of these classes"
    left = "parseFloat(getComputedStyle(document.getElementById('gauge-{}')).left)"
    assert chromium.run(f"{left.format('value')} < {left.format('limit')}")


def test_an_unknown_image_is_none_of_these(
    chromium: Browser, trusted_url: str, trusted_model: Path, tmp_path: Path
) -> None:
    expected = _answer(chromium, trusted_url, _file(tmp_path, seed=6), trusted_model)
    assert not expected.known
    assert _text(chromium, "result-heading") == "None of these classes; the nearest are"
    assert _rows(chromium) == [each.class_name for each in expected.ranked]
    said = _text(chromium, "status")
    assert said.startswith(f"Done: none of these classes; the nearest are {expected.best.class_name}, ")
    assert ", beyond the limit of 0.0" in said
    assert _text(chromium, "share-note") == "The percentages assume that it is one of the classes."
    # The gauge starts at 0 and is linear: the limit is half of this distance.
    value, limit = (chromium.run(f"document.getElementById('gauge-{name}').style.left") for name in ("value", "limit"))
    assert float(limit[:-1]) == pytest.approx(float(value[:-1]) / 2, rel=1e-2)
    _look(chromium, "unknown")


def test_a_model_without_a_bank_has_no_gauge(chromium: Browser, server_url: str, model: Path, tmp_path: Path) -> None:
    expected = _answer(chromium, server_url, _file(tmp_path), model)
    assert chromium.run("document.getElementById('distance').hidden") is True
    assert _text(chromium, "status") == f"Done: {expected.best.class_name}, {expected.best.probability:.1%}."


def test_low_confidence_is_the_reason_where_it_is(chromium: Browser, tmp_path: Path) -> None:
    unsure = write_tiny_model(tmp_path / "model", min_confidence=0.99)
    with running(unsure) as (url, _):
        assert not _answer(chromium, url, _file(tmp_path), unsure).known
    assert _text(chromium, "doubt") == "The best class has less than the required 99.0%."
    assert _text(chromium, "doubt") in _text(chromium, "status")


def test_an_answer_is_explained_by_the_keyboard(
    chromium: Browser, trusted_url: str, trusted_model: Path, tmp_path: Path
) -> None:
    chromium.messages.clear()
    file = _file(tmp_path)
    expected = _answer(chromium, trusted_url, file, trusted_model)
    while chromium.run("document.activeElement.id") != "explain":
        chromium.press("Tab")
    chromium.press(" ")
    chromium.until("!document.getElementById('explained').hidden")
    best, second = expected.top(2)
    assert _text(chromium, "map-words").startswith(f"Yellow speaks for {best.class_name}, most ")
    chromium.until("document.getElementById('map').naturalWidth === 64")
    score = Classifier(trusted_model).explain(file).score
    assert _text(chromium, "map-note").startswith(f"Score: {score:.2f} = ")
    assert "(class activation map, exact)" in _text(chromium, "map-note")

    chromium.run(
        f"(each => {{ each.value = '{second.label}'; each.dispatchEvent(new Event('change')); }})"
        "(document.getElementById('explain-against'))"
    )
    chromium.until("document.getElementById('map-words').textContent.startsWith('Orange')")
    assert _text(chromium, "map-words").endswith(f"; blue for {second.class_name}.")
    assert chromium.run("document.querySelector('#explain-against option:disabled').value") == best.label
    names = chromium.accessible_names()
    assert {("switch", "Explain"), ("combobox", "Why"), ("combobox", "and not")} <= set(names)
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []
    _look(chromium, "explained")

    chromium.choose("#file", _file(tmp_path, "other.png", seed=6))  # the switch stays on
    chromium.until("document.getElementById('name').textContent === 'other.png'")
    chromium.until("document.getElementById('map-words').textContent.startsWith('Yellow')")
    chromium.run("document.getElementById('explain').click()")
    assert chromium.run("document.getElementById('explained').hidden") is True


def test_an_engine_without_maps_is_said(
    chromium: Browser, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchEngine, "has_maps", False)
    with running(model) as (url, _):
        _answer(chromium, url, _file(tmp_path), model)
        assert chromium.run("document.getElementById('explain').disabled") is True
        assert "start it with --engine torch" in _text(chromium, "explain-hint")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_phone(chromium: Browser, trusted_url: str, tmp_path: Path, dark: bool) -> None:
    chromium.open(trusted_url, width=360, height=740, dark=dark)
    chromium.choose("#file", _file(tmp_path))
    chromium.until(SHOWN)
    chromium.run("document.getElementById('explain').click()")
    chromium.until("!document.getElementById('explained').hidden")
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
