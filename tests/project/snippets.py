"""The Python code of README, docs, the notebook and the examples, as files that a type checker can read.

`python -m tests.project.snippets COMMAND...` runs a type checker on them; its messages name the page in place of the
file. A page is one file, since later blocks use names of earlier ones, and its lines keep their numbers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
_UNTYPED = re.compile(
    r"^\s*(import|from) (boto3|onnxruntime|safetensors|sagemaker|torch|torchvision)\b|\bValidPredictions\b",
    re.MULTILINE,
)
_FILE = re.compile(r"# (\w+\.py)")
_FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,}|:{3,})\s*(?P<language>.*?)\s*$")
_OTHER_LANGUAGES = re.compile(
    r"(console|text|json|yaml|toml|ini|make|dockerfile|html|xml|diff|sh|bash)$|\{(?!code-block).*"
)
_SHOWN_BY_CELLS = "# pyright: reportUnusedExpression=false"  # a notebook shows the value of a cell's last line
_FOREIGN_TYPES = (
    "# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false\n"
)
_PYRIGHT = {"typeCheckingMode": "strict", "reportMissingTypeStubs": False, "reportUnnecessaryTypeIgnoreComment": True}


def pages() -> list[Path]:
    """Everything that shows Python code to users, and a file of cases."""
    docs = PROJECT_ROOT / "docs"
    return sorted(
        [
            *PROJECT_ROOT.glob("[A-Z]*.md"),
            *(page for page in docs.rglob("*.md") if "_build" not in page.parts),
            *(page for page in docs.rglob("*.ipynb") if "_build" not in page.parts),
            *PROJECT_ROOT.glob("examples/**/*.py"),
            PROJECT_ROOT / "tests/project/typed_usage.py",
        ]
    )


def code_of(page: Path) -> str:
    """The Python code of a page, without the files that it shows; empty if it has none.

    Raises:
        ValueError: a block is in a language that is neither Python nor known, so that it could be Python.
    """
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":
        return text
    if page.suffix == ".ipynb":
        cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        return "\n\n\n".join(cells) + f"\n{_SHOWN_BY_CELLS}\n"
    return _code(_lines(text, page), "")


def files_of(page: Path) -> dict[str, str]:
    """The code of the files that a page shows, in blocks that start with a comment such as `# mycode.py`."""
    if page.suffix != ".md":
        return {}
    lines = list(_lines(page.read_text(encoding="utf-8"), page))
    return {file: _code(lines, file) for file, _ in lines if file}


def _code(lines: Iterable[tuple[str, str]], file: str) -> str:
    """The lines of one file; the others are blank."""
    code = [line if of == file else "" for of, line in lines]
    return "\n".join(code) + "\n" if any(code) else ""


def _lines(text: str, page: Path) -> Iterator[tuple[str, str]]:
    """The page's lines, blank outside its Python blocks; each with the file that its block is, or nothing."""
    fence, is_python, file = "", False, ""
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if not fence and found:
            fence, language = found["fence"], found["language"]
            is_python = language.removeprefix("{code-block} ") in ("python", "py")  # the tests run the first kind only
            if not is_python and not _OTHER_LANGUAGES.match(language):
                raise ValueError(f"{page.name}:{number}: write ```python, or name another language than {language!r}")
            file = ""
            yield "", ""
        elif fence and found and found["fence"].startswith(fence) and not found["language"]:
            fence, is_python, file = "", False, ""
            yield "", ""
        else:
            if is_python and (named := _FILE.fullmatch(line)):
                file = named[1]
            yield file, line if is_python else ""


def file_name(page: Path) -> str:
    """A module name for a page: `docs__how_to__training.py`; examples keep theirs, since some import each other."""
    if page.suffix == ".py":
        return page.name
    parts = page.relative_to(PROJECT_ROOT).with_suffix("").parts
    return re.sub(r"[^\w]", "_", "__".join(parts)) + ("_ipynb" if page.suffix == ".ipynb" else "") + ".py"


def write_files(folder: Path) -> dict[str, str]:
    """Write a file for each page with Python code; the pages by file name."""
    written: dict[str, str] = {}
    for page in pages():
        for name, code in {file_name(page): code_of(page), **files_of(page)}.items():
            if code:
                assert name not in written, f"two files are called {name}"
                if _UNTYPED.search(code):  # the types of these packages are incomplete
                    code += _FOREIGN_TYPES
                (folder / name).write_text(code, encoding="utf-8")
                written[name] = page.relative_to(PROJECT_ROOT).as_posix()
    (folder / "pyrightconfig.json").write_text(json.dumps(_PYRIGHT), encoding="utf-8")
    return written


def main(*command: str) -> int:
    """Run a type checker on the code of all pages; its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        names = write_files(Path(folder))
        done = subprocess.run([*command, *names], cwd=folder, capture_output=True, text=True)
    report = done.stdout + done.stderr
    for name, page in names.items():
        report = re.sub(rf"(\S*/)?\b{re.escape(name)}\b", page, report)
    print(f"code of {len(names)} pages and examples\n{report}", end="")  # noqa: T201
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
