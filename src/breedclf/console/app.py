"""The ASGI application of the console: pages, their events, lists as JSON, actions, and static files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, unquote

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, compile_path
from starlette.types import Receive, Scope, Send

from breedclf.console.actions import perform
from breedclf.console.content import Content, Fragment, Page, ServerLinks
from breedclf.console.guard import Guard
from breedclf.console.html import moment, render
from breedclf.console.lists import LISTS
from breedclf.console.live import MOST_PAGES, LivePages
from breedclf.console.pages import PAGES
from breedclf.console.predicting import about, predicted
from breedclf.console.reports import report_routes
from breedclf.console.threads import in_thread
from breedclf.errors import BreedclfError, ConfigError
from breedclf.jobs import check_name
from breedclf.overview.logs import whole_log
from breedclf.overview.looks import Seen
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import callout
from breedclf.serving.http.web_page import SHARED_SCRIPTS, page_file
from breedclf.text.plain_json import plain_json_parts

ASSET_TYPES = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "live.js": "text/javascript",
    "keeping.js": "text/javascript",
    "stream.js": "text/javascript",
    "stream-worker.js": "text/javascript",
    "times.js": "text/javascript",
    "actions.js": "text/javascript",
    "try.js": "text/javascript",
    **dict.fromkeys(SHARED_SCRIPTS, "text/javascript"),
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
        self.live = LivePages(self.content, problem_content, self.lane)

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

    def content(self, target: str) -> Content:
        """The page of an address (its path and query).

        Raises:
            BreedclfError: there is no such page.
        """
        path, query = split_target(target)
        page, parameters = page_at(path)
        backend = query.get("backend", "")
        return page.content(self.overview(backend), {**query, **parameters}, self.links(backend))

    def lane(self, target: str) -> str:
        """The backend that the page of an address shows."""
        return split_target(target)[1].get("backend", "") or next(iter(self.overviews))


def split_target(target: str) -> tuple[str, dict[str, str]]:
    """The path of an address, decoded, and its query."""
    path, _, query = target.partition("?")
    return unquote(path), dict(parse_qsl(query))


def target_of(request: Request) -> str:
    """The address of a page as the browser sent it, without the host."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.url.query
    return raw.decode("latin-1") + (f"?{query}" if query else "")


def problem_content(error: Exception, seen: Seen) -> tuple[Content, int]:
    """What is shown in place of a page that can't be made, and its HTTP status, until the page can be made."""
    if seen.is_waiting:
        due = "" if seen.due is None else Markup("The next look is at {}.").format(moment(seen.due))
        text = callout("info", "Waiting for the backend", str(error), *([due] if due else []))
        return Content("Waiting", [Fragment("problem", text)]), 503
    if isinstance(error, BreedclfError):
        way_on = "The pages named above list what there is."
        text = callout("bad", "What is wrong", str(error), way_on)
        return Content("This can't be shown", [Fragment("problem", text)]), 404
    text = callout("bad", "This page can't be made", "The terminal in which the console runs says why.")
    return Content("This can't be shown", [Fragment("problem", text)]), 500


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

    def overview_of(request: Request) -> Overview:
        return console.overview(request.query_params.get("backend", ""))

    async def first(request: Request) -> Response:
        del request
        return RedirectResponse(PAGES[0].path, 303)

    async def page(request: Request) -> Response:
        target = target_of(request)
        made, cursor = await console.live.page(target)
        return HTMLResponse(whole_page(console, target, made.content, cursor), made.status)

    async def events(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return EventResponse(console.live.follow(pages_to_follow(request)), media_type="text/event-stream")

    async def listing(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in LISTS:
            raise HTTPException(404, f"no list {name}; there are {', '.join(LISTS)}")
        overview = overview_of(request)
        documents = await in_thread(LISTS[name], overview)
        return StreamingResponse(plain_json_parts(documents), media_type="application/json")

    async def action(request: Request) -> Response:
        if console.read_only:
            raise HTTPException(403, "this console was started with --read-only")
        fields = await _fields(request)
        backend = request.query_params.get("backend", "")
        done = await perform(request.path_params["name"], console.overview(backend), fields)
        return JSONResponse({"done": done.text, "next": done.next and console.links(backend).to(done.next)})

    def job_log(request: Request) -> Response:
        overview = overview_of(request)
        name = check_name(request.path_params["name"])
        overview.backend.describe(name)
        headers = {"content-disposition": f'attachment; filename="{name}.log.txt"'}
        return StreamingResponse(whole_log(overview.backend, name), media_type="text/plain", headers=headers)

    async def invocations(request: Request) -> Response:
        if console.read_only:
            raise HTTPException(403, "this console was started with --read-only")
        overview = overview_of(request)
        return await predicted(overview, request.path_params["name"], request)

    async def about_endpoint(request: Request) -> Response:
        overview = overview_of(request)
        return await about(overview, request.path_params["name"])

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSET_TYPES:
            raise HTTPException(404, f"no file {name}")
        is_lasting = request.path_params["version"] == assets_version()
        headers = {"cache-control": "max-age=31536000, immutable" if is_lasting else "no-cache"}
        return Response(asset_bytes(name), media_type=ASSET_TYPES[name], headers=headers)

    app = Starlette(
        routes=[
            Route("/", first),
            *(Route(each.path, page) for each in PAGES),
            Route("/jobs/{name}/log.txt", job_log),
            *report_routes(console.overview),
            Route("/events", events),
            Route("/static/{version}/{name}", asset),
            Route("/api/actions/{name}", action, methods=["POST"]),
            Route("/api/endpoints/{name}/invocations", invocations, methods=["POST"]),
            Route("/api/endpoints/{name}/about", about_endpoint),
            Route("/api/{name}", listing),
        ],
        middleware=[Middleware(Guard, token=console.token, port=console.port)],
        exception_handlers={BreedclfError: _failed, HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    app.state.console = console
    return app


class EventResponse(StreamingResponse):
    """A stream whose generator ends with it, also if the client vanishes while it waits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]


def pages_to_follow(request: Request) -> list[tuple[str, str]]:
    """The addresses and cursors of `?target=...&cursor=...`, repeated for several pages.

    Raises:
        ConfigError: there is no such page, or there are too many.
    """
    targets, cursors = (request.query_params.getlist(name) for name in ("target", "cursor"))
    if last := request.headers.get("last-event-id"):
        cursors = last.split(",")
    if not 0 < len(targets) <= MOST_PAGES:
        raise ConfigError(f"events follow 1 to {MOST_PAGES} pages: repeat target=PATH&cursor=CURSOR for each")
    for target in targets:
        page_at(split_target(target)[0])
    return [(target, cursors[at] if at < len(cursors) else "") for at, target in enumerate(targets)]


def whole_page(console: Console, target: str, content: Content, cursor: str) -> str:
    """The HTML of a page on the server."""
    path, query = split_target(target)
    backend = query.get("backend", "")
    backend = backend if backend in console.overviews else next(iter(console.overviews))
    return str(
        render(
            "page.html.j2",
            content=content,
            links=console.links(backend),
            navigation=navigation(),
            current=current_entry(path),
            backends=[(name, console.links(name).to("/jobs")) for name in console.overviews],
            backend=backend,
            target=target,
            cursor=cursor,
            now=time.time(),
            assets=f"/static/{assets_version()}/",
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
        return str(render("console.css.j2")).encode() + b"\n" + page_file("answer.css")
    if name in SHARED_SCRIPTS:
        return page_file(name)
    return files("breedclf.console").joinpath("static", name).read_bytes()


@cache
def assets_version() -> str:
    """Part of the addresses of style sheets and scripts, which browsers keep: another one when any of them differs."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(ASSET_TYPES):
        digest.update(asset_bytes(name))
    return digest.hexdigest()


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
    content = Content("This can't be shown", [Fragment("problem", callout("bad", "What is wrong", text))])
    return HTMLResponse(whole_page(request.app.state.console, "/", content, ""), status)
