"""`breedclf models add|list|show|compare|promote|rollback|alias|remove|gc`: models with versions in a folder."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from breedclf.backends.registry import backend_names
from breedclf.cli import models_compare, models_sagemaker
from breedclf.cli.common import add_common_options, text_table
from breedclf.cli.console import Console
from breedclf.cli.flags import add_settings_flags, given_settings
from breedclf.cli.models_push import HELP as PUSH_HELP
from breedclf.cli.models_push import add_arguments as push_arguments
from breedclf.cli.models_push import run as push
from breedclf.errors import ConfigError
from breedclf.files.model_folder import has_card, model_directory_at
from breedclf.files.paths import path_argument, user_path
from breedclf.model_store.gate import Gate
from breedclf.model_store.lineage import config_changes
from breedclf.model_store.records import PREVIOUS, ModelRecord, ModelVersion
from breedclf.model_store.store import DEFAULT_STORE, ModelStore
from breedclf.model_store.summary import COLUMNS, facts_of, history_lines, lineage_facts, state_of, version_rows

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint

_ACTIONS = {
    "add": "copy a model into the store as the next version of a name",
    "list": "show the versions of all models",
    "show": "show a model's versions and history, or where one version comes from",
    "compare": models_compare.HELP,
    "promote": "make a version live, if it passes the gate, and update its endpoint without a failed request",
    "rollback": "make the previous version live again, and update its endpoint",
    "alias": "let an alias of your own name a version",
    "remove": "remove a version that no alias names and no endpoint serves",
    "gc": "delete files that no version uses",
    "push": PUSH_HELP,
}
_GATE = ("baseline", "max_drop", "max_megabytes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        if name in _ARGUMENTS:
            _ARGUMENTS[name](action)
        action.add_argument(
            "--store",
            type=path_argument,
            default=DEFAULT_STORE,
            metavar="DIR",
            help=f"folder of the models (default: {DEFAULT_STORE})",
        )
        add_common_options(action)
    add_common_options(models_sagemaker.add_arguments(actions))


def run(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.action == "compare":
        return models_compare.run(arguments, console)
    if arguments.action == models_sagemaker.ACTION:
        return models_sagemaker.run(arguments, console)
    store = ModelStore(arguments.store)
    _RUN[arguments.action](store, arguments, console)
    return 0


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


def _promote_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    action.add_argument("version", metavar="VERSION", help="number or alias of a version")
    add_settings_flags(action, Gate, {"gate": _GATE})
    gate = action.add_argument_group("images")
    gate.add_argument(
        "--data",
        type=path_argument,
        metavar="DIR",
        help="image folder or table on whose test images the version is measured and compared with the live one "
        "(default: the evaluation with which it was added)",
    )
    _endpoint_arguments(action)


def _endpoint_arguments(action: argparse.ArgumentParser) -> None:
    group = action.add_argument_group("endpoint")
    group.add_argument(
        "--endpoint", metavar="NAME", help="endpoint to update (default: the one that was updated last, if any)"
    )
    group.add_argument(
        "--backend", default="local", metavar="|".join(backend_names()), help="where that endpoint is (default: local)"
    )
    group.add_argument("--no-endpoint", action="store_true", help="update no endpoint: move only the alias")
    group.add_argument("--reason", metavar="TEXT", help="noted in the history")


def _rollback_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    _endpoint_arguments(action)


def _alias_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    action.add_argument("alias", metavar="ALIAS", help="the alias, other than live and previous")
    action.add_argument("version", nargs="?", metavar="VERSION", help="number or alias of a version")
    action.add_argument("--delete", action="store_true", help="delete the alias")


def _remove_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="name of the model")
    action.add_argument("version", metavar="VERSION", help="number or alias of a version")


_ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "add": _add_arguments,
    "list": _list_arguments,
    "show": _show_arguments,
    "compare": models_compare.add_arguments,
    "promote": _promote_arguments,
    "rollback": _rollback_arguments,
    "alias": _alias_arguments,
    "remove": _remove_arguments,
    "push": push_arguments,
}


def _add(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    name, model = name_and_model(arguments.words, arguments.name)
    known = {each.version for each in store.record(name).versions} if name in store.names else set()
    version = store.add(model, name=name, notes=arguments.notes)
    what = f"is already version {version.version}" if version.version in known else f"is version {version.version}"
    flag = _store_flag(store)
    console.result(
        _document(store.record(name), version),
        f"{model} {what} of {name}\nnext: breedclf models promote {name} {version.version}{flag}",
    )


def _list(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    records = [store.record(name) for name in arguments.names or store.names]
    rows = [(record.name, *row) for record in records for row in version_rows(record, datetime.now(UTC))]
    none = f"no models in {store.path}; `breedclf models add NAME MODEL{_store_flag(store)}` adds one"
    text = text_table([_heads("name", *COLUMNS), *rows]) if rows else none
    console.result({"models": [_record_document(record) for record in records]}, text)


def _show(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    record = store.record(arguments.name)
    if arguments.version is not None:
        _show_version(store, record, arguments, console)
        return
    if arguments.against is not None:
        raise ConfigError("--against compares two versions: name both, as in models show NAME 2 --against 1")
    rows = version_rows(record, datetime.now(UTC))
    table = text_table([_heads(*COLUMNS), *rows]) if rows else "no versions"
    history = [f"  {line}" for line in history_lines(record)]
    parts = [f"{record.name}: {state_of(record)}", table, *(["history", *history] if history else [])]
    console.result(_record_document(record), "\n".join(parts))


def _show_version(store: ModelStore, record: ModelRecord, arguments: argparse.Namespace, console: Console) -> None:
    version = record.version(arguments.version)
    directory = str(store.model_directory(record.name, version.version))
    document = {**_document(record, version), "directory": directory}
    facts = [*facts_of(record, version), *lineage_facts(version), ("files", directory)]
    text = f"{record.name} {version.version}\n{_aligned(facts)}"
    if arguments.against is not None:
        other = record.version(arguments.against)
        changes = config_changes(other.lineage.config, version.lineage.config)
        document["against"] = {"version": other.version, "changes": changes}
        lines = [f"  {name}: {before!r} -> {after!r}" for name, (before, after) in changes.items()]
        text += "\n".join([f"\nsettings that differ from version {other.version}:", *(lines or ["  none"])])
    console.result(document, text)


def _promote(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    gate = Gate(**{name: value for name, value in given_settings(arguments, Gate).items() if name in _GATE})
    reason = {} if arguments.reason is None else {"reason": arguments.reason}
    checks = store.promote(
        arguments.name,
        arguments.version,
        data=arguments.data,
        gate=gate,
        endpoint=_endpoint(arguments),
        alias_only=arguments.no_endpoint,
        **reason,
    )
    record = store.record(arguments.name)
    lines = [f"  passed  {check.name}: {check.detail}" for check in checks]
    console.result(
        {**_state(record), "checks": [check.to_dict() for check in checks]},
        "\n".join([f"{record.name}: {state_of(record)}", *lines]),
    )


def _rollback(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    reason = {} if arguments.reason is None else {"reason": arguments.reason}
    store.rollback(arguments.name, endpoint=_endpoint(arguments), alias_only=arguments.no_endpoint, **reason)
    record = store.record(arguments.name)
    console.result(_state(record), f"{record.name}: {state_of(record)}")


def _alias(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    if arguments.delete == (arguments.version is not None):
        raise ConfigError("models alias: give the version that the alias names, or --delete")
    store.alias(arguments.name, arguments.alias, arguments.version)
    number = store.record(arguments.name).aliases.get(arguments.alias)
    shown = f"is version {number} of {arguments.name}" if number else f"of {arguments.name} is deleted"
    console.result({"name": arguments.name, "alias": arguments.alias, "version": number}, f"{arguments.alias} {shown}")


def _remove(store: ModelStore, arguments: argparse.Namespace, console: Console) -> None:
    version = store.remove(arguments.name, arguments.version)
    console.result(
        _document(store.record(arguments.name), version),
        f"removed version {version.version} of {arguments.name}; "
        f"`breedclf models gc{_store_flag(store)}` deletes its files",
    )


def _gc(store: ModelStore, _: argparse.Namespace, console: Console) -> None:
    removed = store.collect_garbage()
    console.result({"removed": removed}, "\n".join(["removed:", *removed]) if removed else "nothing to remove")


_RUN = {
    "add": _add,
    "list": _list,
    "show": _show,
    "promote": _promote,
    "rollback": _rollback,
    "alias": _alias,
    "remove": _remove,
    "gc": _gc,
    "push": push,
}


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


def _endpoint(arguments: argparse.Namespace) -> Endpoint | None:
    if arguments.endpoint is None:
        return None
    if arguments.no_endpoint:
        raise ConfigError("--endpoint and --no-endpoint exclude each other")
    from breedclf.api.deployment import Deployment

    return Deployment.attach(arguments.endpoint, backend=arguments.backend)


def _store_flag(store: ModelStore) -> str:
    return "" if store.path == DEFAULT_STORE else f" --store {shlex.quote(str(store.path))}"


def _heads(*names: str) -> list[str]:
    return [name.upper() for name in names]


def _aligned(facts: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"  {name.ljust(width)}  {value}" for name, value in facts)


def _state(record: ModelRecord) -> dict[str, Any]:
    values = record.model_dump(mode="json", include={"name", "aliases", "endpoint", "promoting"})
    return {**values, "live": record.live, "previous": record.aliases.get(PREVIOUS)}


def _document(record: ModelRecord, version: ModelVersion) -> dict[str, Any]:
    return {"name": record.name, **version.model_dump(mode="json"), "aliases": record.aliases_of(version.version)}


def _record_document(record: ModelRecord) -> dict[str, Any]:
    values = record.model_dump(mode="json", exclude={"schema_version", "next_version", "versions"})
    return {**values, "versions": [_document(record, version) for version in reversed(record.versions)]}
