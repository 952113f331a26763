"""Reads your own code without running it: whether a name is defined, and which modules a job needs with it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from breedclf.config.import_path import ImportPath
from breedclf.errors import ConfigError
from breedclf.runtime.own_code import Located, described, did_you_mean, find_module, locate, own_root

_ANY_NAME = "*"


def modules_to_send(paths: Mapping[str, ImportPath]) -> dict[str, Path]:
    """The files and package folders that a job needs to import these paths, by their names; installed ones aren't.

    Modules of your own that they import, from any folder on `sys.path`, are among them.

    Raises:
        ConfigError: a path names nothing that can be found, or two files have the same name.
    """
    found: dict[str, Path] = {}
    todo: list[tuple[str, Path]] = []
    for what, path in paths.items():
        located = locate(path, what)
        _check_defined(located, what)
        if located.own is not None:
            todo.append((f"{what} {path}", located.own))
    while todo:
        what, root = todo.pop()
        if (other := found.get(root.name, root)) != root:
            raise ConfigError(f"{what}: a job can't have two modules named {root.name}, {other} and {root}; rename one")
        if root.name in found:
            continue
        found[root.name] = root
        for name in sorted(_imported_by(root)):
            spec = find_module(name)
            if spec is not None and (own := own_root(spec)) is not None:
                todo.append((what, own))
    return found


def path_of(function: Callable[..., object], what: str) -> ImportPath:
    """The import path of a function, by which a job can import it.

    Raises:
        ConfigError: it has none; the message says why, and what to do.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    remedy = "define it as a function at the top level of a module of its own, such as mycode.py, and import it"
    if not isinstance(module, str) or not isinstance(name, str):
        raise ConfigError(f"{what} is a {type(function).__name__}, which a job can't import; {remedy}")
    if "<lambda>" in name:
        raise ConfigError(f"{what} is a lambda, which a job can't import; {remedy}")
    if "<locals>" in name:
        outer = name.partition(".<locals>")[0]
        raise ConfigError(f"{what} is defined inside {outer}(), where a job can't import it; {remedy}")
    if module == "__main__":
        raise ConfigError(f"{what} is defined in the running script or notebook, which a job can't import; {remedy}")
    return ImportPath(module, name)


def _check_defined(located: Located, what: str) -> None:
    """Refuse a name that the file certainly doesn't define."""
    if located.file is None or located.file.suffix != ".py":
        return
    name = located.path.name.partition(".")[0]
    defined = set(_bound(_parsed(located.file, f"{what} {located.path}").body))
    if name not in defined and not {_ANY_NAME, "__getattr__"} & defined:
        hint = did_you_mean(name, defined)
        raise ConfigError(f"{what} {located.path}: {located.path.source} has no {name!r}{hint}")


def _parsed(file: Path, what: str) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError, OSError) as error:
        raise ConfigError(f"{what}: {file.name} can't be read as Python: {described(error)}") from error


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements at the top level bind, also within if, try, with and for."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
            case _:
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        yield node.id
                    elif isinstance(node, ast.stmt) and node is not statement:
                        yield from _bound([node])


def _imported_by(root: Path) -> set[str]:
    """The top-level modules that a file, or the files of a package, import anywhere."""
    names: set[str] = set()
    for file in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError):  # of a file that may never be imported
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - {root.stem}
