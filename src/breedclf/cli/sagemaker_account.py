"""`breedclf sagemaker policy|list|clean`: what breedclf may do in an account, what it has made there, and its end."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError, JobError

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.account.cleaning import Cleaning
    from breedclf.backends.sagemaker.account.inventory import Folder, Inventory, Thing

ACTIONS = {
    "policy": "print the IAM policies that breedclf needs: the role's, its trust, and the caller's",
    "list": "show everything that breedclf made in the account, with age, status and cost so far",
    "clean": "delete your endpoints, their configurations and models; stop running jobs, if asked",
}


def add_action(name: str, parser: argparse.ArgumentParser) -> None:
    """The flags of one of the actions."""
    parser.add_argument("--region", metavar="REGION", help="AWS region (default: that of the session)")
    if name == "policy":
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--role", action="store_true", help="only what the role may do")
        which.add_argument("--trust", action="store_true", help="only who may run as the role")
        which.add_argument("--caller", action="store_true", help="only what the person using breedclf may do")
        parser.add_argument("--role-arn", metavar="ARN", help="the role (default: BREEDCLF_SAGEMAKER_ROLE)")
        parser.add_argument("--feature-store", metavar="URI", help="a feature store in S3 that the role's jobs use")
        parser.add_argument("--account", metavar="NUMBER", help="the account, for a role `breedclf` to be made there")
    if name == "clean":
        parser.add_argument("--older-than", type=float, metavar="DAYS", help="only what is older")
        parser.add_argument("--stop-running", action="store_true", help="also stop jobs and searches that are running")
        parser.add_argument(
            "--registry", action="store_true", help="also delete model package groups, with all their packages"
        )
        parser.add_argument(
            "--storage", action="store_true", help="also delete what is left in S3 and nothing in SageMaker refers to"
        )
        parser.add_argument(
            "--everyones", action="store_true", help="what others made in this account, too, not only you"
        )
        parser.add_argument("--yes", action="store_true", help="don't ask before deleting")
        parser.add_argument("--dry-run", action="store_true", help="only show what would be done")


def run_action(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Do one of the actions and return the exit code."""
    if arguments.action == "policy":
        return _policy(arguments, terminal)
    return _list(arguments, terminal) if arguments.action == "list" else _clean(arguments, terminal)


def _policy(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.backends.sagemaker.account.policy import (
        SCHEDULER,
        Scope,
        caller_policy,
        end_role_policy,
        role_policy,
        trust_policy,
    )
    from breedclf.backends.sagemaker.settings import SageMakerSettings, session_region
    from breedclf.features.remote.bucket import store_location

    store = None if arguments.feature_store is None else store_location(arguments.feature_store)
    settings = SageMakerSettings.given(role=arguments.role_arn, region=arguments.region)
    scope = Scope.of(settings, region=session_region(), account=arguments.account)
    policies = {
        "trust": trust_policy(),
        "role": role_policy(settings, scope, store),
        "caller": caller_policy(settings, scope),
    }
    if settings.endpoint_end_role is not None:
        policies |= {"end-trust": trust_policy(SCHEDULER), "end-role": end_role_policy(scope)}
    chosen = next((name for name in ("trust", "role", "caller") if getattr(arguments, name)), None)
    document: Any = policies if chosen is None else policies[chosen]
    terminal.result(document, json.dumps(document, indent=2))
    return 0


def _list(arguments: argparse.Namespace, terminal: Terminal) -> int:
    inventory, now = _inventory(arguments), time.time()
    things, folders = inventory.things(), inventory.folders()
    document = {
        "things": [thing.to_dict(now) for thing in things],
        "storage": [vars(folder) for folder in folders],
    }
    lines = [_as_text(thing, now) for thing in things] or ["nothing in SageMaker"]
    lines += [_sized(folder) for folder in folders]
    terminal.result(document, "\n".join(lines))
    return 0


def _clean(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.backends.sagemaker.account.cleaning import clean, cleaning

    inventory, now = _inventory(arguments), time.time()
    leftovers = inventory.leftovers()
    todo = cleaning(
        inventory.things(),
        now=now,
        owner=inventory.owner,
        everyones=arguments.everyones,
        older_than_days=arguments.older_than,
        stop_running=arguments.stop_running,
        registry=arguments.registry,
        folders=leftovers if arguments.storage else (),
    )
    stays = _stays(todo, inventory.owner, () if arguments.storage else leftovers)
    if todo.is_empty or arguments.dry_run:
        terminal.result(_document(todo, {}, dry_run=arguments.dry_run), "\n".join([*_todo_lines(todo), *stays]))
        return 0
    if not arguments.yes:
        _confirm([*_todo_lines(todo), *stays], terminal)
    problems = clean(inventory, todo)
    document = _document(todo, problems, dry_run=False)
    terminal.result(document, "\n".join([*(f"stopped {each}" for each in document["stopped"]), *_done_lines(document)]))
    for what, message in problems.items():
        terminal.error(f"{what}: {message}")
    return JobError.exit_code if problems else 0


def _todo_lines(todo: Cleaning) -> list[str]:
    lines = [f"would stop {_titled(each)}" for each in todo.stopped]
    lines += [f"would delete {_titled(each)}" for each in todo.deleted]
    lines += [f"would delete {_sized(each)}" for each in todo.folders]
    return lines or ["nothing to clean"]


def _stays(todo: Cleaning, owner: str | None, leftovers: Sequence[Folder]) -> list[str]:
    """What isn't touched although it costs something or could be deleted, and what would do it."""
    lines = [
        f"still running: {_titled(each)}; --stop-running stops it"
        for each in todo.left
        if each.runs and each.owner == owner
    ]
    others = [each for each in todo.left if each.owner != owner]
    if others:
        lines.append(f"{len(others)} made by others or by nobody known are left; --everyones includes them")
    if leftovers:
        size = sum(each.size_bytes for each in leftovers) / 1e6
        lines.append(
            f"{len(leftovers)} folders in S3 ({size:,.1f} MB) that nothing refers to stay; --storage deletes them"
        )
    return lines


def _done_lines(document: Mapping[str, Any]) -> list[str]:
    return [*(f"deleted {each}" for each in document["deleted"]), *(f"deleted {each}" for each in document["storage"])]


def _document(todo: Cleaning, problems: Mapping[str, str], *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "deleted": [_titled(each) for each in todo.deleted if _titled(each) not in problems],
        "stopped": [_titled(each) for each in todo.stopped if _titled(each) not in problems],
        "storage": [each.uri for each in todo.folders if each.uri not in problems],
        "still_running": [_titled(each) for each in todo.left if each.runs],
        "problems": dict(problems),
    }


def _confirm(lines: Sequence[str], terminal: Terminal) -> None:
    """Show what would be done and let the person decide.

    Raises:
        ConfigError: nobody is there to ask, or the answer isn't yes.
    """
    if terminal.json or not sys.stdin.isatty():
        raise ConfigError("nothing was deleted: see what would be with --dry-run, and confirm it with --yes")
    print("\n".join(lines), file=sys.stderr)
    print("Delete and stop these? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was deleted")


def _inventory(arguments: argparse.Namespace) -> Inventory:
    from breedclf.backends.registry import backend_named
    from breedclf.backends.sagemaker.account.inventory import Inventory

    return Inventory(backend_named("sagemaker", region=arguments.region).context, now=time.time)  # type: ignore[attr-defined]


def _titled(thing: Thing) -> str:
    return f"{thing.kind} {thing.name}"


def _sized(folder: Folder) -> str:
    return f"{folder.uri}  {folder.objects} objects  {folder.size_bytes / 1e6:,.1f} MB"


def _as_text(thing: Thing, now: float) -> str:
    cost = f"unknown cost ({thing.why_unknown})" if thing.cost is None else f"${thing.cost:,.2f}"
    age, owner = f"{(now - thing.created) / 86_400:.1f} days", thing.owner or "-"
    return f"{thing.kind}  {thing.name}  {thing.status}  {age}  {cost}  {owner}"
