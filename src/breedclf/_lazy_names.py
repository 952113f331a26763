"""Names of a package that are loaded on first use, as its stub (`__init__.pyi`) lists them."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module


@cache
def names_of(package: str) -> dict[str, str]:
    """The module of each public name of a package, by name, sorted."""
    import ast

    stub = pkgutil.get_data(package, "__init__.pyi")
    assert stub is not None, f"{package} has no stub"
    imports = [each for each in ast.parse(stub).body if isinstance(each, ast.ImportFrom)]
    return dict(sorted((alias.name, str(each.module)) for each in imports for alias in each.names))


def load(package: str, name: str) -> object:
    """The object of this name; a list of the names for `__all__`.

    Raises:
        AttributeError: the package has no such name.
    """
    names = names_of(package)
    if name == "__all__":
        return list(names)
    if name not in names:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    found: object = getattr(import_module(names[name]), name)
    return found
