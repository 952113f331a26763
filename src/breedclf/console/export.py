"""The console as a folder of static pages: nothing to serve, no scripts, opens offline."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup
from starlette.routing import compile_path

from breedclf._version import __version__
from breedclf.console import html
from breedclf.console.app import asset_bytes, current_entry, navigation, page_at
from breedclf.console.content import Content, Fragment, Page
from breedclf.console.pages import PAGES
from breedclf.console.static_links import Address, StaticLinks, address_of, without_links
from breedclf.errors import BreedclfError
from breedclf.files.whole_folder import replacing_folder
from breedclf.overview.looks import Looks, Pace
from breedclf.overview.overview import Overview
from breedclf.reporting.blocks import Column, callout, table

MARKER = "console-export.json"
SECURITY_POLICY = (
    "default-src 'none'; style-src 'self' file:; img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
)
_FOLLOWED_PARAMETERS = {"page"}  # of links; filters and other choices aren't exported
_ONCE = Pace(seconds=math.inf)


@dataclass(frozen=True)
class Exported:
    """The folder of an export, and how many pages it has."""

    folder: Path
    pages: int


def export_console(overviews: Mapping[str, Overview], folder: Path) -> Exported:
    """Write every page of the console as a file, with `index.html` to start from.

    Args:
        overviews: what is shown, by the name of its backend.
        folder: a folder that is new, empty, or an earlier export, which is replaced as a whole.

    Raises:
        ConfigError: the folder contains other files.
        DiskError: it can't be written.
    """
    with replacing_folder(folder, MARKER) as new:
        export = _Export({name: _snapshot(overview) for name, overview in overviews.items()}, new)
        export.write()
    return Exported(folder, len(export.written))


def addresses(overview: Overview, backend: str = "") -> Iterator[Address]:
    """The address of each page that its kind lists."""
    for page in PAGES:
        for parameters in page.all(overview):
            yield _address(backend, page, parameters)


def _snapshot(overview: Overview) -> Overview:
    """The same overview, which looks at each thing once, so that the pages agree."""
    snapshot = replace(overview)
    snapshot.looks = Looks(_ONCE, clock=overview.clock)
    return snapshot


@dataclass
class _Export:
    overviews: Mapping[str, Overview]
    folder: Path
    written: dict[str, Address] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    with_absent: dict[str, set[str]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The name of the backend whose files have no prefix."""
        return next(iter(self.overviews))

    def write(self) -> None:
        """Write all files: pages that are listed, then those that they link to."""
        (self.folder / "console.css").write_bytes(asset_bytes("console.css"))
        listed = list(self._listed())
        queue = deque((address, True) for address in listed)
        seen = {address.file for address in listed}
        linked: dict[str, set[str]] = {}
        while queue:
            address, is_listed = queue.popleft()
            links = StaticLinks(address.backend)
            content = self._content(address, links, is_listed=is_listed)
            if content is None:
                self.absent.add(address.file)
                continue
            self._write_page(address, content, links)
            linked[address.file] = {each.file for each in links.used}
            for each in links.used:
                if each.file not in seen and each.path != "/":
                    seen.add(each.file)
                    queue.append((each, False))
        self._write_index(listed)
        for file, files in linked.items():
            if files & self.absent:
                path = self.folder / file
                path.write_text(
                    without_links(path.read_text(encoding="utf-8"), self.absent.__contains__), encoding="utf-8"
                )

    def _listed(self) -> Iterator[Address]:
        for name, overview in self.overviews.items():
            yield from addresses(overview, "" if name == self.first else name)

    def _content(self, address: Address, links: StaticLinks, *, is_listed: bool) -> Content | None:
        """A page; None if it was only linked to, and doesn't exist or is one of the choices that aren't exported."""
        if not is_listed and not {name for name, _ in address.query} <= _FOLLOWED_PARAMETERS:
            return None
        overview = self.overviews[address.backend or self.first]
        try:
            page, parameters = page_at(address.path)
            return page.content(overview, {**dict(address.query), **parameters}, links)
        except BreedclfError as error:
            if not is_listed:
                return None
            title = address.path.rpartition("/")[2]
            return Content(title, [Fragment("problem", callout("bad", "This can't be shown", str(error)))])

    def _write_page(self, address: Address, content: Content, links: StaticLinks) -> None:
        overview = self.overviews[address.backend or self.first]
        backends = [(name, StaticLinks("" if name == self.first else name).to("/jobs")) for name in self.overviews]
        text = html.render(
            "page.html.j2",
            content=content,
            links=links,
            navigation=navigation(),
            current=current_entry(address.path),
            backends=backends,
            backend=address.backend or self.first,
            assets="",
            policy=SECURITY_POLICY,
            made=html.moment(overview.clock.time()),
            version=__version__,
        )
        (self.folder / address.file).write_text(text, encoding="utf-8", errors="backslashreplace")
        self.written[address.file] = address

    def _write_index(self, listed: list[Address]) -> None:
        links = StaticLinks()
        rows = []
        for name in self.overviews:
            here = StaticLinks("" if name == self.first else name)
            for path, label in navigation():
                below = [each for each in listed if each.backend == here.backend and each.path.startswith(path + "/")]
                rows.append([html.link(here.to(path), label), name, len(below)])
        columns: list[Column | str] = ["page", "backend", Column("with a page each", numeric=True)]
        content = Content(
            "Console",
            [Fragment("pages", table("What there is", columns, rows))],
            Markup("As it was at {}.").format(html.moment(self.overviews[self.first].clock.time())),
        )
        self._write_page(Address("", "/"), content, links)


def _address(backend: str, page: Page, parameters: Mapping[str, str]) -> Address:
    _, path_format, convertors = compile_path(page.path)
    path = path_format.format(**{name: parameters[name] for name in convertors})
    return address_of(backend, path, {name: value for name, value in parameters.items() if name not in convertors})
