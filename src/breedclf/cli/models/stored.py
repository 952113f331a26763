"""`breedclf models add|list|show|alias|remove|gc`: the versions in a store."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from breedclf.cli.common import text_table
from breedclf.cli.models.action import ModelsAction
from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError
from breedclf.files.model_folder import has_card, model_directory_at
from breedclf.files.paths import user_path
from breedclf.model_store.lineage import config_changes
from breedclf.model_store.records import ModelRecord
from breedclf.model_store.store import DEFAULT_STORE, ModelStore
from breedclf.model_store.summary import COLUMNS, facts_of, history_lines, lineage_facts, state_of, version_rows
from breedclf.overview.models import model_view, model_views, record_document, version_document


def _add_arguments(action: argparse.ArgumentParser) -> None:
    action.usage = "breedclf models add [-h] NAME MODEL [--notes TEXT] [--store DIR]"
    action.add_argument(
        "words",
        nargs="+",
        metavar="NAME MODEL",
        help="name of the model, and its directory (OUT/model, or OUT of `train`)",
    )
    action.add_argument("--name", metavar="NAME", help="the name, if only MODEL is given before")
    action.add_argument("--notes", default="", metavar="TEXT", help="free text, shown by list")


def _list_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("names", nargs="*", metavar="NAME", help="only these models")


def _show_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    action.add_argument("version", nargs="?", metavar="VERSION", help="number or alias of a version")
    action.add_argument(
        "--against", metavar="VERSION", help="also show the training settings that differ from those of this version"
    )


def _alias_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    action.add_argument("alias", metavar="ALIAS", help="the alias, other than live and previous")
    action.add_argument("version", nargs="?", metavar="VERSION", help="number or alias of a version")
    action.add_argument("--delete", action="store_true", help="delete the alias")


def _remove_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    action.add_argument("version", metavar="VERSION", help="number or alias of a version")


def _add(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    name, model = name_and_model(arguments.words, arguments.name)
    known = {each.version for each in store.record(name).versions} if name in store.names else set()
    version = store.add(model, name=name, notes=arguments.notes)
    what = f"is already version {version.version}" if version.version in known else f"is version {version.version}"
    flag = _store_flag(store)
    terminal.result(
        version_document(store.record(name), version),
        f"{model} {what} of {name}\nnext: breedclf models promote {name} {version.version}{flag}",
    )


def _list(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    views = [model_view(store, name) for name in arguments.names] if arguments.names else model_views(store)
    records = [view.readable() for view in views]
    rows = [(record.name, *row) for record in records for row in version_rows(record, datetime.now(UTC))]
    none = f"no models in {store.path}; `breedclf models add NAME MODEL{_store_flag(store)}` adds one"
    text = text_table([_heads("name", *COLUMNS), *rows]) if rows else none
    terminal.result({"models": [view.to_dict() for view in views]}, text)


def _show(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    record = store.record(arguments.name)
    if arguments.version is not None:
        _show_version(store, record, arguments, terminal)
        return
    if arguments.against is not None:
        raise ConfigError("--against compares two versions: name both, as in models show NAME 2 --against 1")
    rows = version_rows(record, datetime.now(UTC))
    table = text_table([_heads(*COLUMNS), *rows]) if rows else "no versions"
    history = [f"  {line}" for line in history_lines(record)]
    parts = [f"{record.name}: {state_of(record)}", table, *(["history", *history] if history else [])]
    terminal.result(record_document(record), "\n".join(parts))


def _show_version(store: ModelStore, record: ModelRecord, arguments: argparse.Namespace, terminal: Terminal) -> None:
    version = record.version(arguments.version)
    directory = str(store.model_directory(record.name, version.version))
    document = {**version_document(record, version), "directory": directory}
    facts = [*facts_of(record, version), *lineage_facts(version), ("files", directory)]
    text = f"{record.name} {version.version}\n{_aligned(facts)}"
    if arguments.against is not None:
        other = record.version(arguments.against)
        changes = config_changes(other.lineage.config, version.lineage.config)
        document["against"] = {"version": other.version, "changes": changes}
        lines = [f"  {name}: {before!r} -> {after!r}" for name, (before, after) in changes.items()]
        text += "\n".join([f"\nsettings that differ from version {other.version}:", *(lines or ["  none"])])
    terminal.result(document, text)


def _alias(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    if arguments.delete == (arguments.version is not None):
        raise ConfigError("models alias: give the version that the alias names, or --delete")
    store.alias(arguments.name, arguments.alias, arguments.version)
    number = store.record(arguments.name).aliases.get(arguments.alias)
    shown = f"is version {number} of {arguments.name}" if number else f"of {arguments.name} is deleted"
    terminal.result({"name": arguments.name, "alias": arguments.alias, "version": number}, f"{arguments.alias} {shown}")


def _remove(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    version = store.remove(arguments.name, arguments.version)
    terminal.result(
        version_document(store.record(arguments.name), version),
        f"removed version {version.version} of {arguments.name}; "
        f"`breedclf models gc{_store_flag(store)}` deletes its files",
    )


def _gc(store: ModelStore, _: argparse.Namespace, terminal: Terminal) -> None:
    removed = store.collect_garbage()
    terminal.result({"removed": removed}, "\n".join(["removed:", *removed]) if removed else "nothing to remove")


def name_and_model(words: Sequence[str], name: str | None) -> tuple[str, str]:
    """The name and the model directory among the words of `add`, which may be in either order.

    Raises:
        ConfigError: there are too many or too few.

    Example:
        >>> name_and_model(["dogs", "runs/dogs/model"], None)
        ('dogs', 'runs/dogs/model')
    """
    if len(words) == 1 and name is not None:
        return name, words[0]
    if len(words) != 2 or name is not None:
        raise ConfigError(
            f"models add got {' '.join(words)!r}{'' if name is None else f' and --name {name}'}: give a name and a "
            "model directory, as in `models add dogs runs/dogs/model`"
        )
    first, second = words
    is_first = _is_model(first) and not _is_model(second)
    return (second, first) if is_first else (first, second)


def _is_model(word: str) -> bool:
    return bool(word.strip()) and has_card(model_directory_at(user_path(word, "model")))


def _store_flag(store: ModelStore) -> str:
    return "" if store.path == DEFAULT_STORE else f" --store {shlex.quote(str(store.path))}"


def _heads(*names: str) -> list[str]:
    return [name.upper() for name in names]


def _aligned(facts: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"  {name.ljust(width)}  {value}" for name, value in facts)


READING = {
    "add": ModelsAction("copy a model into the store as the next version of a name", _add, _add_arguments),
    "list": ModelsAction("show the versions of all models", _list, _list_arguments),
    "show": ModelsAction(
        "show a model's versions and history, or where one version comes from", _show, _show_arguments
    ),
}
CHANGING = {
    "alias": ModelsAction("let an alias of your own name a version", _alias, _alias_arguments),
    "remove": ModelsAction("remove a version that no alias names and no endpoint serves", _remove, _remove_arguments),
    "gc": ModelsAction("delete files that no version uses", _gc),
}
