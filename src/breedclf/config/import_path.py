"""Import paths of your own code in settings, `MODULE:NAME` or `FILE.py:NAME`: only parsed here, never imported."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

DEFAULT_LOSS = "cross_entropy"
DEFAULT_SAMPLER = "shuffle"
NO_METRICS = "none"
BUILT_IN_METRICS = ("train_loss", "valid_loss", "valid_accuracy", "images_per_second")
MAX_OWN_METRICS = 20

_RESERVED = {*BUILT_IN_METRICS, "epoch", "step", "metrics"}
_RESERVED_PREFIX = "best_"
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FORM = "write MODULE:NAME, as in mycode:focal, or FILE.py:NAME"


@dataclass(frozen=True)
class ImportPath:
    """Where an object is defined: `source` is a module's name or a path to a `.py` file, `name` the object's in it.

    Example:
        >>> ImportPath.parse("mylosses:Focal"), ImportPath.parse("code/mylosses.py:Focal").is_file
        (ImportPath(source='mylosses', name='Focal'), True)
    """

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"

    @property
    def is_file(self) -> bool:
        return self.source.endswith(".py")

    @property
    def top(self) -> str:
        """The module without its submodules, or the file's name: what a job needs to have."""
        return PurePath(self.source).name if self.is_file else self.source.partition(".")[0]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MODULE:NAME` or `FILE.py:NAME`.

        Raises:
            ValueError: it is neither.
        """
        source, colon, name = (part.strip() for part in text.rpartition(":"))
        if not colon or not source or not name:
            raise ValueError(f"{text!r} is no import path: {_FORM}")
        if not _is_dotted_name(name):
            raise ValueError(f"{text!r}: {name!r} is no name in Python; {_FORM}")
        if not source.endswith(".py") and not _is_dotted_name(source):
            hint = "; a file ends in .py" if re.search(r"[\\/]", source) else ""
            raise ValueError(f"{text!r}: {source!r} is no module{hint}; {_FORM}")
        return cls(source, name)


def metric_paths(text: str) -> dict[str, ImportPath]:
    """The import paths of own metrics by name; `name=` before a path names its metric otherwise.

    Raises:
        ValueError: a path is none, or a name is taken, repeated or not in lower_snake_case.

    Example:
        >>> list(metric_paths("mymetrics:top2,macro_f1=mymetrics:F1"))
        ['top2', 'macro_f1']
    """
    found: dict[str, ImportPath] = {}
    if text == NO_METRICS:
        return found
    for part in filter(None, (part.strip() for part in text.split(","))):
        given, _, path_text = part.rpartition("=")
        path = ImportPath.parse(path_text)
        name = check_metric_name(given.strip() or path.name.rpartition(".")[2])
        if name in found:
            raise ValueError(f"the metric {name!r} is given twice; name one of them otherwise, as in other={path}")
        found[name] = path
    if len(found) > MAX_OWN_METRICS:
        raise ValueError(f"{len(found)} metrics: at most {MAX_OWN_METRICS} of your own are recorded")
    return found


def check_metric_name(name: str) -> str:
    """Return the name of an own metric if it can be one.

    Raises:
        ValueError: it is that of a built-in metric, or not in lower_snake_case.
    """
    if name in _RESERVED or name.startswith(_RESERVED_PREFIX):
        raise ValueError(f"the metric name {name!r} is taken by a built-in one; choose another, as in my_{name}")
    if not _METRIC.fullmatch(name):
        raise ValueError(
            f"the metric name {name!r} must be in lower_snake_case, at most 64 characters; name it otherwise, as in "
            f"{re.sub(r'[^a-z0-9_]', '_', name.lower()).lstrip('_0123456789') or 'my_metric'}=MODULE:NAME"
        )
    return name


def own_metrics(value: object) -> object:
    """Import paths of metrics, separated by commas or in a list, as one text; checked, but not imported.

    Example:
        >>> own_metrics(["mymetrics:top2", "mymetrics:f1"]), own_metrics([])
        ('mymetrics:top2,mymetrics:f1', 'none')
    """
    parts = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else None
    if parts is None or not all(isinstance(part, str) for part in parts):
        return value
    trimmed = (re.sub(r"\s*([=:])\s*", r"\1", part.strip()) for part in parts)
    text = ",".join(part for part in trimmed if part and part.lower() != NO_METRICS)
    try:
        metric_paths(text)
    except ValueError as error:
        raise ValueError(f"metrics: {error}") from None
    return text or NO_METRICS


def own_loss(value: object) -> object:
    """The name of the built-in loss, or a checked import path."""
    return _default_or_path("loss", value, DEFAULT_LOSS)


def own_sampler(value: object) -> object:
    """The name of the built-in sampler, or a checked import path."""
    return _default_or_path("sampler", value, DEFAULT_SAMPLER)


def paths_in(settings: Mapping[str, str]) -> dict[str, ImportPath]:
    """The import paths in the texts of the settings `loss`, `sampler` and `metrics`, by what to call them.

    Example:
        >>> {what: str(path) for what, path in paths_in({"loss": "mycode:focal", "metrics": "mycode:top2"}).items()}
        {'loss': 'mycode:focal', 'metric top2': 'mycode:top2'}
    """
    found = {}
    for name, default in (("loss", DEFAULT_LOSS), ("sampler", DEFAULT_SAMPLER)):
        if (text := settings.get(name, default)) != default:
            found[name] = ImportPath.parse(text)
    metrics = metric_paths(settings.get("metrics", NO_METRICS))
    return found | {f"metric {name}": path for name, path in metrics.items()}


def with_files_at(settings: Mapping[str, str], place: Callable[[str], str]) -> dict[str, str]:
    """The settings that name files, with each file's path replaced by `place` of it.

    Example:
        >>> with_files_at({"loss": "code/mycode.py:focal", "sampler": "mycode:balanced"}, str.upper)
        {'loss': 'CODE/MYCODE.PY:focal'}
    """

    def placed(path: ImportPath) -> ImportPath:
        return ImportPath(place(path.source), path.name) if path.is_file else path

    found = paths_in(settings)
    changed = {role: str(placed(path)) for role, path in found.items() if role in settings and path.is_file}
    metrics = metric_paths(settings.get("metrics", NO_METRICS))
    if any(path.is_file for path in metrics.values()):
        changed["metrics"] = ",".join(f"{name}={placed(path)}" for name, path in metrics.items())
    return changed


def _default_or_path(setting: str, value: object, default: str) -> object:
    if not isinstance(value, str):
        return default if value is None else value
    text = value.strip()
    if text.lower() in (default, "none", ""):
        return default
    if ":" not in text and difflib.get_close_matches(text.lower().replace("-", "_"), [default], cutoff=0.7):
        raise ValueError(f"{setting}={text!r}: did you mean {default!r}?")
    try:
        return str(ImportPath.parse(text))
    except ValueError as error:
        raise ValueError(f"{setting}: {error}; {default} is the built-in one") from None


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
