"""`breedclf models promote|rollback`: which version is live, and the endpoint that serves it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from breedclf.backends.registry import backend_names
from breedclf.cli.flags import add_settings_flags, given_settings
from breedclf.cli.models.action import ModelsAction
from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.model_store.gate import Gate
from breedclf.model_store.records import PREVIOUS, ModelRecord
from breedclf.model_store.store import ModelStore
from breedclf.model_store.summary import state_of

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint

_GATE = ("baseline", "max_drop", "max_megabytes")


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


def _promote(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
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
    terminal.result(
        {**_state(record), "checks": [check.to_dict() for check in checks]},
        "\n".join([f"{record.name}: {state_of(record)}", *lines]),
    )


def _rollback(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    reason = {} if arguments.reason is None else {"reason": arguments.reason}
    store.rollback(arguments.name, endpoint=_endpoint(arguments), alias_only=arguments.no_endpoint, **reason)
    record = store.record(arguments.name)
    terminal.result(_state(record), f"{record.name}: {state_of(record)}")


def _endpoint(arguments: argparse.Namespace) -> Endpoint | None:
    if arguments.endpoint is None:
        return None
    if arguments.no_endpoint:
        raise ConfigError("--endpoint and --no-endpoint exclude each other")
    from breedclf.api.deployment import Deployment

    return Deployment.attach(arguments.endpoint, backend=arguments.backend)


def _state(record: ModelRecord) -> dict[str, Any]:
    values = record.model_dump(mode="json", include={"name", "aliases", "endpoint", "promoting"})
    return {**values, "live": record.live, "previous": record.aliases.get(PREVIOUS)}


ACTIONS = {
    "promote": ModelsAction(
        "make a version live, if it passes the gate, and update its endpoint without a failed request",
        _promote,
        _promote_arguments,
    ),
    "rollback": ModelsAction(
        "make the previous version live again, and update its endpoint", _rollback, _rollback_arguments
    ),
}
