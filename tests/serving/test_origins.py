"""Scripts of other web pages: kept out unless their origin is allowed, as a browser asks for it."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import urllib3

from breedclf.cli import main
from breedclf.serving.http.app import Service
from tests.serving.conftest import draw, encode, running

JPEG = encode(draw(3))
PAGE = "https://dogs.example"


def preflight(url: str, origin: str = PAGE) -> urllib3.BaseHTTPResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return urllib3.request("OPTIONS", url + "/invocations", headers=headers, retries=False, timeout=30)


def ask(url: str, origin: str = PAGE, **headers: str) -> urllib3.BaseHTTPResponse:
    given = {"Origin": origin, "Content-Type": "image/jpeg", **headers}
    return urllib3.request("POST", url + "/invocations", body=JPEG, headers=given, retries=False, timeout=30)


def test_none_is_allowed_unless_it_is_said(server_url: str) -> None:
    assert preflight(server_url).status == 405
    response = ask(server_url)
    assert response.status == 200
    assert not [name for name in response.headers if name.lower().startswith("access-control-")]


def test_an_origin_that_is_allowed_and_others(model: Path) -> None:
    token = "a-token-of-some-length"
    with running(model, Service(origins=frozenset({PAGE}), token=token)) as (url, _):
        asked = preflight(url)
        assert asked.status == 200
        assert asked.headers["Access-Control-Allow-Origin"] == PAGE
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert {"authorization", "content-type"} <= {
            each.strip().lower() for each in asked.headers["Access-Control-Allow-Headers"].split(",")
        }
        answer = ask(url, Authorization=f"Bearer {token}")
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
        assert "Origin" in answer.headers["Vary"]
        refused = ask(url)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
        for foreign in ("https://evil.example", "https://dogs.example.evil", "http://dogs.example", "null"):
            assert preflight(url, foreign).status == 400
            assert "Access-Control-Allow-Origin" not in ask(url, foreign).headers


def test_all_origins(model: Path) -> None:
    with running(model, Service(origins=frozenset({"*"}))) as (url, _):
        assert preflight(url, "https://any.example").headers["Access-Control-Allow-Origin"] == "*"
        assert ask(url, "https://any.example").headers["Access-Control-Allow-Origin"] == "*"


def test_what_is_no_origin_is_refused_at_once(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(model), "--allow-origin", "dogs.example/page"]) == 2
    assert "--allow-origin 'dogs.example/page' is not an origin" in capsys.readouterr().err


def test_a_data_url_of_a_browser(server_url: str) -> None:
    """As a page's canvas gives it, sent by the standard library's client."""
    import base64
    import json

    body = json.dumps({"instances": [{"b64": "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()}]}).encode()
    asked = urllib.request.Request(server_url + "/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as response:
        assert json.load(response)["predictions"]
