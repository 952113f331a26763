"""Links between the files of an export: a safe file name for each address, and text where there is no page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape

_SLUG_CHARACTERS = 60
_ANCHOR = re.compile(r'<a\b[^>]*?\shref="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)


@dataclass(frozen=True)
class Address:
    """A page of the console: its backend ("" for the first one), its path, and its query in order of the names."""

    backend: str
    path: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        """The name of its file: of letters, digits and punctuation that all systems and URLs permit.

        Different addresses have different names, also where a file system ignores case: whatever isn't a lower-case
        letter, a digit or a hyphen is replaced, and a checksum of the address added behind an underscore.
        """
        if self.path == "/":
            return "index.html"
        parts = self.path.strip("/").split("/")
        name = ".".join(map(_slug, parts)) + "".join(f"+{_slug(key)}={_slug(value)}" for key, value in self.query)
        exact = all(_slug(text) == text for text in (*parts, *(text for pair in self.query for text in pair)))
        if not exact or len(name) > 3 * _SLUG_CHARACTERS:
            digest = hashlib.blake2b(repr((self.path, self.query)).encode("utf-8", "surrogatepass"), digest_size=6)
            name = f"{name[: 3 * _SLUG_CHARACTERS]}_{digest.hexdigest()}"
        return f"{_slug(self.backend)}~{name}.html" if self.backend else f"{name}.html"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:_SLUG_CHARACTERS]


@dataclass
class StaticLinks:
    """Addresses of files in one folder; `used` collects the pages that were linked to."""

    backend: str = ""
    used: dict[Address, None] = field(default_factory=dict)
    is_live: bool = field(default=False, init=False)
    may_act: bool = field(default=False, init=False)

    def to(self, path: str, **parameters: str | int) -> str:
        address = address_of(self.backend, path, parameters)
        self.used[address] = None
        return address.file


def address_of(backend: str, path: str, parameters: dict[str, str | int]) -> Address:
    """The address of a page; parameters that say nothing, the first of its pages included, are left out.

    Example:
        >>> address_of("", "/jobs", {"words": "", "page": 2}).file
        'jobs+page=2.html'
        >>> address_of("", "/jobs/Dogs", {}).file
        'jobs.dogs_8d90a209c683.html'
    """
    given = {name: str(value) for name, value in parameters.items() if value not in ("", 0)}
    if given.get("page") == "1":
        del given["page"]
    return Address(backend, path, tuple(sorted(given.items())))


def without_links(html: str, is_missing: Callable[[str], bool]) -> str:
    """The page with each link to a file that is missing replaced by its text.

    Example:
        >>> without_links('<a href="a.html">A</a> <a href="b.html#c"><b>B</b></a>', "b.html".__eq__)
        '<a href="a.html">A</a> <b>B</b>'
    """

    def kept(match: re.Match[str]) -> str:
        return match[2] if is_missing(unescape(match[1]).partition("#")[0]) else match[0]

    return _ANCHOR.sub(kept, html)
