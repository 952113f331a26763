"""Reports as pages of their own: self-contained HTML, served under a policy in which nothing runs or is fetched."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from breedclf.console.pages.journey import report_file
from breedclf.console.pages.profile import whole_report
from breedclf.errors import ConfigError
from breedclf.overview.overview import Overview

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
LINKED_REPORT_POLICY = f"{REPORT_POLICY} allow-same-origin"
"""For reports that link to others: links from a page without an origin would lack the console's cookie."""


def report_routes(overview: Callable[[str], Overview]) -> list[Route]:
    """The routes of reports; `overview` is that of a backend, by name."""

    def profile(request: Request) -> Response:
        found = overview(request.query_params.get("backend", ""))
        return _report(whole_report(found, request.path_params["name"]), REPORT_POLICY)

    def journey(request: Request) -> Response:
        found = overview(request.query_params.get("backend", ""))
        file = report_file(found, request.path_params["name"], request.path_params["report"])
        try:
            return _report(file.read_bytes(), LINKED_REPORT_POLICY)
        except OSError as error:
            raise ConfigError(f"{file} can't be read: {error}") from error

    return [Route("/profiles/{name}/report", profile), Route("/journeys/{name}/files/{report:path}", journey)]


def _report(html: str | bytes, policy: str) -> Response:
    return HTMLResponse(html, headers={"content-security-policy": policy})
