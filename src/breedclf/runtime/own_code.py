"""Finds and imports your own code by its import path; only training does, never the loading of a model."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from breedclf.config.import_path import ImportPath
from breedclf.errors import ConfigError
from breedclf.files.paths import user_path

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = {"site-packages", "dist-packages"}
_PREFIX = "breedclf_own_code_"
_FILE_LOCK = threading.RLock()


@dataclass(frozen=True)
class Located:
    """Where an object's code is, found without importing it.

    Args:
        path: its import path.
        file: the file that defines it; None for a module without one.
        own: the file or the package folder that a job needs; None for an installed module.
    """

    path: ImportPath
    file: Path | None
    own: Path | None


def locate(path: ImportPath, what: str) -> Located:
    """Find the module or file of an import path; `what` is its role in messages, such as "loss".

    Raises:
        ConfigError: there is none.
    """
    if path.is_file:
        file = user_path(path.source, what)
        if not file.is_file():
            raise ConfigError(f"{what} {path}: there is no file {path.source}{_near_files(file)}")
        return Located(path, file.absolute(), file.absolute())
    if path.top == "__main__":
        raise ConfigError(f"{what} {path}: __main__ is the running program; move the code to a module of its own")
    spec, name = find_module(path.top), path.top
    if spec is None:
        raise ConfigError(f"{what} {path}: there is no module {name!r}: {_where_modules_are(path)}")
    top = spec
    for part in path.source.split(".")[1:]:
        inner = PathFinder.find_spec(f"{name}.{part}", spec.submodule_search_locations or [])
        if inner is None:
            raise ConfigError(f"{what} {path}: {name} has no module {part!r}{_near_submodules(part, spec)}")
        spec, name = inner, f"{name}.{part}"
    return Located(path, _file_of(spec), own_root(top))


def load(path: ImportPath, what: str) -> Callable[..., Any]:
    """Import the module or file, and return the callable object that the path names.

    Raises:
        ConfigError: it isn't found, its import fails, or it can't be called.
    """
    located = locate(path, what)
    found: object = _imported(located, what)
    for part in path.name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            hint = did_you_mean(part, dir(found))
            raise ConfigError(f"{what} {path}: {path.source} has no {part!r}{hint}") from None
    if not callable(found):
        raise ConfigError(f"{what} {path}: it is {described_value(found)}, which can't be called")
    return found


def fingerprint(path: ImportPath, what: str) -> str:
    """A hash of the code behind a path: its file, or all Python files of its package."""
    located = locate(path, what)
    root = located.own or located.file
    files = [] if root is None else sorted(root.rglob("*.py")) if root.is_dir() else [root]
    digest = hashlib.blake2b(str(path.name).encode(), digest_size=16)
    for file in files:
        relative = file.name if root is None or root == file else file.relative_to(root).as_posix()
        digest.update(f"\0{relative}\0{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()


@contextmanager
def importable_from(folder: Path | None) -> Iterator[None]:
    """Look for modules in this folder first within the block; those imported from it are unloaded at its end."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and Path(file).is_relative_to(folder):
                del sys.modules[name]


def find_module(name: str) -> ModuleSpec | None:
    """The specification of a top-level module on `sys.path`, without importing it."""
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # it was put into sys.modules by hand
        return None


def own_root(spec: ModuleSpec) -> Path | None:
    """The file or package folder of a top-level module; None if it is installed, built in, or part of breedclf."""
    folders = list(spec.submodule_search_locations or [])
    file = _file_of(spec)
    root = Path(folders[0]) if folders else file
    return None if root is None or _is_installed(root) else root.absolute()


def described(error: BaseException, file: Path | None = None) -> str:
    """The last line of a traceback, with the line of the user's file where the error arose."""
    text = str(error).strip().splitlines()
    words = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return words  # its text has the line
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if file is not None and Path(frame.filename) == file]
    own = own or [frame for frame in frames if not _is_installed(Path(frame.filename))]
    return f"{words} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else words


def described_value(value: object) -> str:
    """A value in a message: its type, and a short form of itself."""
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text[:60]}{'...' if len(text) > 60 else ''}"


def _imported(located: Located, what: str) -> ModuleType:
    path = located.path
    try:
        return _from_file(located) if path.is_file else importlib.import_module(path.source)
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = "; install it, or put modules that import each other into one package"
        raise ConfigError(f"{what} {path}: importing {path.source} failed with {described(error)}{hint}") from error


def _from_file(located: Located) -> ModuleType:
    """Execute a file as a module of a name of its own, once for each content."""
    assert located.file is not None
    content = located.file.read_bytes()
    digest = hashlib.sha256(str(located.file).encode() + b"\0" + content).hexdigest()[:16]
    with _FILE_LOCK:  # other threads wait until the file has been executed
        return _executed(f"{_PREFIX}{digest}", located.file, content)


def _executed(name: str, file: Path, content: bytes) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up while the file is executed
    try:
        exec(compile(content, str(file), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file_of(spec: ModuleSpec) -> Path | None:
    return Path(spec.origin) if spec.has_location and spec.origin is not None else None


def _is_installed(path: Path) -> bool:
    path = path.absolute()
    if _INSTALLED & {*path.parts} or path.is_relative_to(_PACKAGE):
        return True
    return any(path.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def _where_modules_are(path: ImportPath) -> str:
    """How to make a missing module importable."""
    here = Path(f"{path.source.replace('.', '/')}.py")
    if here.is_file():
        return (
            f"{here.name} is in the current folder, which isn't on sys.path; give the file, as in ./{here}:{path.name}"
        )
    near = difflib.get_close_matches(path.top, _module_names(), n=1, cutoff=0.75)
    hint = f"did you mean {near[0]!r}? Otherwise " if near else ""
    return f"{hint}add its folder to PYTHONPATH, or give its file, as in code/{path.top}.py:{path.name}"


def _module_names() -> set[str]:
    return {module.name for module in pkgutil.iter_modules()} | {file.stem for file in Path().glob("*.py")}


def _near_files(file: Path) -> str:
    names = [each.name for each in file.parent.glob("*.py")] if file.parent.is_dir() else []
    return did_you_mean(file.name, names)


def _near_submodules(name: str, spec: ModuleSpec) -> str:
    names = [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations or [])]
    return did_you_mean(name, names)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint at the most similar name, for the end of a message; empty if none is similar."""
    near = difflib.get_close_matches(name, [*names], n=1)
    return f": did you mean {near[0]!r}?" if near else ""
