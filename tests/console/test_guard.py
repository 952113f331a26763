"""Who may talk to the console: Host, Origin, Sec-Fetch-Site and the token of each request."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers, QueryParams

from breedclf.console.guard import cookie_name, refusal

TOKEN, PORT = "a-token-of-some-length", 8899
HOST = f"127.0.0.1:{PORT}"
COOKIE = f"{cookie_name(PORT)}={TOKEN}"


def status(method: str = "GET", query: str = "", **headers: str) -> int:
    given = Headers({"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()})
    refused = refusal(method, given, QueryParams(query), token=TOKEN, port=PORT)
    return 200 if refused is None else refused.status


@pytest.mark.parametrize(
    ("expected", "method", "query", "headers"),
    [
        (200, "GET", "", {"cookie": COOKIE}),
        (200, "GET", f"token={TOKEN}", {}),
        (200, "GET", "", {"authorization": f"Bearer {TOKEN}"}),
        (200, "POST", "", {"cookie": COOKIE, "origin": f"http://{HOST}"}),
        (200, "POST", "", {"authorization": f"Bearer {TOKEN}"}),
        (401, "GET", "", {}),
        (401, "GET", "token=wrong", {"cookie": COOKIE}),
        (401, "GET", "", {"cookie": f"{cookie_name(PORT + 1)}={TOKEN}"}),
        (421, "GET", "", {"cookie": COOKIE, "host": "evil.example"}),
        (421, "GET", "", {"cookie": COOKIE, "host": f"evil.example:{PORT}"}),
        (403, "GET", "", {"cookie": COOKIE, "origin": "https://evil.example"}),
        (403, "POST", "", {"cookie": COOKIE, "origin": "null"}),
        (403, "POST", "", {"cookie": COOKIE}),
        (403, "GET", "", {"cookie": COOKIE, "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
        (403, "GET", "", {"cookie": COOKIE, "sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}),
        (403, "POST", "", {"cookie": COOKIE, "origin": f"http://127.0.0.1:{PORT + 1}"}),
    ],
)
def test_who_may_ask(expected: int, method: str, query: str, headers: dict[str, str]) -> None:
    assert status(method, query, **headers) == expected
