"""The page of the Python API is what is public: `__all__`, and every module that pages and examples import from."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import breedclf
from tests.project.snippets import PROJECT_ROOT, code_of, pages

PAGE = (PROJECT_ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
ON_THE_PAGE = re.findall(r"^\.\. auto(?:class|function|exception|data):: (breedclf\.[\w.]+)$", PAGE, re.MULTILINE)
FROM_MODULES = [name for name in ON_THE_PAGE if name.count(".") > 1]


def test_the_page_has_every_public_name_once() -> None:
    assert sorted(ON_THE_PAGE) == sorted(set(ON_THE_PAGE))
    shown = {name.removeprefix("breedclf.") for name in ON_THE_PAGE if name not in FROM_MODULES}
    assert shown == set(breedclf.__all__) - {"__version__"}


@pytest.mark.parametrize("name", FROM_MODULES)
def test_a_name_with_a_module_is_imported_from_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module), attribute)
    assert value.__doc__
    assert value not in [getattr(breedclf, public) for public in breedclf.__all__]


def _imported(page: Path) -> set[str]:
    """The names of breedclf that a page or example imports."""
    nodes = ast.walk(ast.parse(code_of(page)))
    return {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "breedclf"
        for alias in node.names
    }


def test_pages_and_examples_import_public_names_as_the_page_shows_them() -> None:
    shown = [page for page in pages() if page.name != "typed_usage.py"]
    imports = {page.relative_to(PROJECT_ROOT).as_posix(): _imported(page) for page in shown}
    assert len(imports["examples/09_sagemaker.py"]) > 5
    internal = {page: sorted(names - set(ON_THE_PAGE)) for page, names in imports.items()}
    assert {page: names for page, names in internal.items() if names} == {}
