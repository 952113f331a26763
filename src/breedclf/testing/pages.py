"""Check an HTML report: balanced tags, no external resources, no broken links, alt texts for all images."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "img", "br", "hr", "input"}
_FETCHING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background", "formaction"}


@dataclass(frozen=True)
class Page:
    """The text of a page, the number of each tag, and what is wrong with it."""

    text: str
    tags: dict[str, int]
    problems: list[str] = field(default_factory=list)


def read_page(html: str) -> Page:
    """Parse and check a page.

    Example:
        >>> read_page("<html><img src='https://example.com/a.png' alt='a'></html>").problems
        ['<img src> is external: https://example.com/a.png']
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    problems = [*reader.problems, *(f"<{tag}> is never closed" for tag in reader.open)]
    problems += [f"the link #{anchor} has no target" for anchor in reader.links if anchor not in reader.ids]
    problems += [f"id {one!r} is used twice" for one in sorted(set(reader.ids)) if reader.ids.count(one) > 1]
    problems += [
        f"the style sheet fetches {url}" for url in re.findall(r"url\([^)]*\)|@import[^;]*", "".join(reader.styles))
    ]
    return Page(" ".join(" ".join(reader.words).split()), reader.tags, problems)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: dict[str, int] = {}
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._check_tag(tag, dict(attrs))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._check_tag(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.problems.append(f"</{tag}> closes {'<' + self.open[-1] + '>' if self.open else 'nothing'}")

    def handle_data(self, data: str) -> None:
        (self.styles if "style" in self.open else self.words).append(data)

    def _check_tag(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if identity := attributes.get("id"):
            self.ids.append(identity)
        for name, value in attributes.items():
            if name in _FETCHING and value is not None:
                if value.startswith("#"):
                    self.links.append(value[1:])
                elif not value.startswith("data:"):
                    self.problems.append(f"<{tag} {name}> is external: {value}")
        if tag == "img" and not attributes.get("alt"):
            self.problems.append("an image has no alt text")
        if tag == "script":
            self.problems.append("the page runs a script")
