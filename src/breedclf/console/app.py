"""The ASGI application of the console: pages, their events, lists as JSON, actions, and static files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, compile_path

from breedclf.console.actions import perform
from breedclf.console.content import Content, Page, ServerLinks
from breedclf.console.guard import Guard
from breedclf.console.html import render
from breedclf.console.lists import LISTS
from breedclf.console.live import LivePages
from breedclf.console.pages import PAGES
from breedclf.errors import BreedclfError, ConfigError
from breedclf.jobs import check_name
from breedclf.overview.logs import whole_log
from breedclf.overview.overview import Overview
from breedclf.text.plain_json import plain_json_parts

ASSET_TYPES = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "live.js": "text/javascript",
    "times.js": "text/javascript",
    "actions.js": "text/javascript",
}
_MAX_ACTION_BYTES = 64 << 10


@dataclass
class Console:
    """What is shown: one overview a backend, the first of them by default."""

    overviews: Mapping[str, Overview]
    token: str
    port: int
    read_only: bool = False
    live: LivePages = field(init=False)

    def __post_init__(self) -> None:
        self.live = LivePages(lambda target: self.content(target)[0])

    def overview(self, backend: str) -> Overview:
        """The overview of a backend; that of the first if the name is empty.

        Raises:
            ConfigError: there is none of that name.
        """
        name = backend or next(iter(self.overviews))
        if name not in self.overviews:
            raise ConfigError(f"backend {name!r}: this console shows {', '.join(self.overviews)}")
        return self.overviews[name]

    def links(self, backend: str) -> ServerLinks:
        """Addresses of pages that show a backend."""
        first = next(iter(self.overviews))
        return ServerLinks("" if backend in ("", first) else backend, self.read_only)

    def content(self, target: str) -> tuple[Content, Page]:
        """The page of an address (its path and query).

        Raises:
            BreedclfError: there is no such page.
        """
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        page, parameters = page_at(parts.path)
        backend = query.get("backend", "")
        return page.content(self.overview(backend), {**query, **parameters}, self.links(backend)), page


def page_at(path: str) -> tuple[Page, dict[str, str]]:
    """The kind of page at a path, and the path's parameters.

    Raises:
        ConfigError: there is none.
    """
    for page in PAGES:
        pattern, _, _ = compile_path(page.path)
        if match := pattern.match(path):
            return page, match.groupdict()
    raise ConfigError(f"no page at {path}")


def create_app(console: Console) -> Starlette:
    """The application of a console."""

    async def first(request: Request) -> Response:
        del request
        return RedirectResponse(PAGES[0].path, 303)

    async def page(request: Request) -> Response:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        content, cursor = await console.live.page(target)
        return HTMLResponse(whole_page(console, target, content, cursor))

    async def events(request: Request) -> Response:
        target = request.query_params.get("target", "")
        page_at(urlsplit(target).path)
        cursor = request.headers.get("last-event-id") or request.query_params.get("cursor", "")
        return StreamingResponse(console.live.follow(target, cursor), media_type="text/event-stream")

    def listing(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in LISTS:
            raise HTTPException(404, f"no list {name}; there are {', '.join(LISTS)}")
        overview = console.overview(request.query_params.get("backend", ""))
        return StreamingResponse(plain_json_parts(LISTS[name](overview)), media_type="application/json")

    async def action(request: Request) -> Response:
        if console.read_only:
            raise HTTPException(403, "this console was started with --read-only")
        fields = await _fields(request)
        overview = console.overview(request.query_params.get("backend", ""))
        done = await perform(request.path_params["name"], overview, fields)
        return JSONResponse({"done": done.text, "next": done.next})

    def job_log(request: Request) -> Response:
        overview = console.overview(request.query_params.get("backend", ""))
        name = check_name(request.path_params["name"])
        overview.backend.describe(name)
        headers = {"content-disposition": f'attachment; filename="{name}.log.txt"'}
        return StreamingResponse(whole_log(overview.backend, name), media_type="text/plain", headers=headers)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSET_TYPES:
            raise HTTPException(404, f"no file {name}")
        return Response(asset_bytes(name), media_type=ASSET_TYPES[name], headers={"cache-control": "no-cache"})

    app = Starlette(
        routes=[
            Route("/", first),
            *(Route(each.path, page) for each in PAGES),
            Route("/jobs/{name}/log.txt", job_log),
            Route("/events", events),
            Route("/static/{name}", asset),
            Route("/api/actions/{name}", action, methods=["POST"]),
            Route("/api/{name}", listing),
        ],
        middleware=[Middleware(Guard, token=console.token, port=console.port)],
        exception_handlers={BreedclfError: _failed, HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    return app


def whole_page(console: Console, target: str, content: Content, cursor: str) -> str:
    """The HTML of a page on the server."""
    query = dict(parse_qsl(urlsplit(target).query))
    backend = query.get("backend", "") or next(iter(console.overviews))
    return str(
        render(
            "page.html.j2",
            content=content,
            links=console.links(backend),
            navigation=navigation(),
            current=current_entry(urlsplit(target).path),
            backends=list(console.overviews),
            backend=backend,
            target=target,
            cursor=cursor,
            assets="/static/",
        )
    )


def navigation() -> list[tuple[str, str]]:
    """The paths and labels of the pages that stand in the navigation."""
    return [(page.path, page.label) for page in PAGES if page.label]


def current_entry(path: str) -> str:
    """The path of the navigation's entry that a page belongs to."""
    return next((entry for entry, _ in navigation() if path == entry or path.startswith(entry + "/")), "")


@cache
def asset_bytes(name: str) -> bytes:
    """A style sheet or script of the pages."""
    if name == "console.css":
        return str(render("console.css.j2")).encode()
    return files("breedclf.console").joinpath("static", name).read_bytes()


async def _fields(request: Request) -> dict[str, str]:
    """The inputs of an action: a JSON object of texts."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send the fields of the action as application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_ACTION_BYTES:
            raise HTTPException(413, "the fields of an action are a few names")
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise HTTPException(400, "the fields of an action are a JSON object of texts")
    return values


def _wants_json(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/events"))


def _failed(request: Request, error: Exception) -> Response:
    status = 404 if request.method == "GET" else 409
    return _problem(request, status, str(error))


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(request, error.status_code, str(error.detail))


def _problem(request: Request, status: int, text: str) -> Response:
    if _wants_json(request):
        return JSONResponse({"error": text}, status)
    return HTMLResponse(str(render("problem.html.j2", text=text, navigation=navigation())), status)
