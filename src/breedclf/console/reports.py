"""Reports as pages of their own: self-contained HTML, served under a policy in which nothing runs or is fetched."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from breedclf.console.pages.profile import whole_report
from breedclf.overview.overview import Overview

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


def report_routes(overview: Callable[[str], Overview]) -> list[Route]:
    """The routes of reports; `overview` is that of a backend, by name."""

    def profile(request: Request) -> Response:
        found = overview(request.query_params.get("backend", ""))
        return _report(whole_report(found, request.path_params["name"]))

    return [Route("/profiles/{name}/report", profile)]


def _report(html: str | bytes, policy: str = REPORT_POLICY) -> Response:
    return HTMLResponse(html, headers={"content-security-policy": policy})
