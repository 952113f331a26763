"""Docs, help, messages and docstrings use the words of CONTRIBUTING.md: plain American English, standard terms."""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from breedclf.cli import COMMANDS, _parser

ROOT = next(path for path in Path(__file__).resolve().parents if (path / "pyproject.toml").is_file())

# A pattern of a word to avoid, and what to write instead.
WORDS = {
    r"pictures?|photographs?": "image, photo",
    r"a training(?! (run|job|task|loop|image|set|step|class|config|script|loss|epoch|process|hook|code|plan|data|folder"
    r"|batch|split|state|instance|request|input|container|function|sample|record|callback|feature|time|program|command"
    r"|share|pass|precision|log|service|machine))": "a training run",
    r"trainings": "training runs",
    r"frozen part": "frozen backbone",
    r"trained part|last layer": "head",
    r"step sizes?": "learning rate",
    r"lessons?": "training task",
    r"workbench": "run cache",
    r"remember(ed|s)?": "cached",
    r"doctor": "dataset check",
    r"loader process(es)?": "DataLoader workers",
    r"tells|told|hears?|heard": "report, log, return; receive",
    r"stands|lies": "is, is stored",
    r"begins?|began|begun|anew": "start, restart",
    r"stand-ins?": "emulator; in tests: fake",
    r"(the|this) house|(its|the) rooms?": "package",
    r"(led|leads?) back": "rolled back",
    r"so (many|long)(?! (as|that))": "N, N seconds",
    r"named rightly|bad days?": "correct; failures",
    r"verbs?": "command",
    r"who(ever)? (wants|has|needs|runs|asks)": "(rephrase)",
    r"back[ -]ends?": "backend",
    r"best effort": "untested",
    r"asked for by name": "explicitly",
    r"(standardis|normalis|regularis|initialis|serialis|recognis|summaris|minimis|maximis)\w*": "-ize",
    r"(optimis(?!m|t)|organis(?!m)|quantis)\w*": "-ize",
    r"colours?|coloured|behaviours?|licences?|grey|misspelt|spelt|whilst": "American spelling",
    r"(?<!dog )(?<!\d )breeds?": "class, except for dog breeds",
}
PATTERNS = [
    (re.compile(rf"(?<![\w./-])(?:{pattern})(?!\w)", re.IGNORECASE), better) for pattern, better in WORDS.items()
]


def hits(text: str) -> Iterator[str]:
    for pattern, better in PATTERNS:
        for match in pattern.finditer(text):
            yield f"{match[0]!r}, write: {better}"


def words_in_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Prose, and comments in code blocks; code is a matter of its own tests."""
    text = re.sub(r"^## Words\n.*\Z", "", text, flags=re.MULTILINE | re.DOTALL)  # CONTRIBUTING lists the words to avoid
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*(```|:::)", line):
            fenced = not fenced
        elif fenced:
            yield number, (re.search(r"(?:^|\s)#+ (.*)", line) or ["", ""])[1]
        else:
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", "``", line)


def words_in_python(text: str) -> Iterator[tuple[int, str]]:
    """Docstrings, comments, and string literals with a blank in them: others are keys, names and paths."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\s", node.value.strip()):
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, re.sub(r"`[^`]*`|https?://\S+|^\s*(>>>|\.\.\.) .*", "``", line)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"`[^`]*`", "``", token.string)


class _Text(HTMLParser):
    """What a reader of a page gets: text, and attributes that are shown or read out."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []
        self._code = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._code = tag in ("script", "style")
        shown = ("alt", "title", "placeholder", "aria-label")
        self.lines += [(self.getpos()[0], value or "") for name, value in attributes if name in shown]

    def handle_endtag(self, tag: str) -> None:
        self._code &= tag not in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            text = re.sub(r"\{[{%#].*?[}%#]\}", "", data, flags=re.DOTALL)
            self.lines += [(self.getpos()[0] + offset, line) for offset, line in enumerate(text.splitlines())]


def words_in_html(text: str) -> Iterator[tuple[int, str]]:
    reader = _Text()
    reader.feed(text)
    yield from reader.lines


def words_in_javascript(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        for quoted in re.findall(r"""(?<!\w)(?:"[^"]* [^"]*"|'[^']* [^']*'|`[^`]* [^`]*`|//.*)""", line):
            yield number, re.sub(r"\$\{[^}]*\}", "", quoted)


def words_in_notebook(text: str) -> Iterator[tuple[int, str]]:
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        read = words_in_markdown if cell["cell_type"] == "markdown" else words_in_python
        yield from ((number, line) for _, line in read("".join(cell["source"])))


READERS = {
    ".md": words_in_markdown,
    ".py": words_in_python,
    ".html": words_in_html,
    ".js": words_in_javascript,
    ".ipynb": words_in_notebook,
}


def findings(path: Path) -> list[str]:
    place = path.relative_to(ROOT).as_posix()
    lines = READERS[path.suffix](path.read_text(encoding="utf-8"))
    return [f"{place}:{number}: {hit}" for number, line in lines for hit in hits(line)]


def _files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in READERS]
    return sorted(path for path in found if not {"_build", "_generated", "__pycache__"} & set(path.parts))


def _ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("*.md")), *_files("docs", "examples")], ids=_ids)
def test_the_words_of_docs_and_examples(path: Path) -> None:
    assert findings(path) == []


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _parsers(each)


@pytest.mark.parametrize(
    "words", [[], *([command] for command in COMMANDS)], ids=lambda words: " ".join(words) or "breedclf"
)
def test_the_words_of_help(words: list[str]) -> None:
    lines = [line for parser in _parsers(_parser([*words, "--help"])) for line in parser.format_help().splitlines()]
    assert [f"{line.strip()}: {hit}" for line in lines for hit in hits(line)] == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in _files("src")}), ids=_ids)
def test_the_words_of_messages_and_docstrings(folder: Path) -> None:
    files = [path for path in _files("src") if path.parent == folder]
    assert [hit for path in files for hit in findings(path)] == []


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".md", "The frozen part is remembered."),
        (".md", "```python\ntrain()  # a training hears of it\n```"),
        (".py", '"""The doctor looks at pictures."""\n'),
        (".py", "error = f'{name} is no picture of {count}'\n"),
        (".py", "# begun anew\n"),
        (".html", "<p title='Choose a photograph'></p>"),
        (".js", 'show("no such picture");'),
        (".ipynb", '{"cells": [{"cell_type": "markdown", "source": ["The last layer"]}]}'),
    ],
)
def test_an_old_word_is_found(suffix: str, text: str) -> None:
    assert [hit for _, line in READERS[suffix](text) for hit in hits(line)] != []


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".md", "`pictures` is a key, and a training run starts on 133 dog breeds."),
        (".md", "```python\nsession.step(pictures=4)\n```"),
        (".py", 'row["pictures"] = 1\n'),
        (".py", '"""An optimist."""\n'),
    ],
)
def test_names_and_plain_english_are_left_alone(suffix: str, text: str) -> None:
    assert [hit for _, line in READERS[suffix](text) for hit in hits(line)] == []
