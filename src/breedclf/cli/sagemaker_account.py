"""`breedclf sagemaker policy|list|clean`: what breedclf may do in an account, what it has made there, and its end."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from breedclf.cli.console import Console
from breedclf.errors import JobError

ACTIONS = {
    "policy": "print the IAM policies that breedclf needs: the role's, its trust, and the caller's",
    "list": "show everything that breedclf made in the account, with age, status and cost so far",
    "clean": "delete endpoints, their configurations and models; stop running jobs, if asked",
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
        parser.add_argument("--account", metavar="NUMBER", help="the account, for a role `breedclf` to be made there")
    if name == "clean":
        parser.add_argument("--older-than", type=float, metavar="DAYS", help="only what is older")
        parser.add_argument("--stop-running", action="store_true", help="stop training and tuning jobs that run, too")
        parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")


def run_action(arguments: argparse.Namespace, console: Console) -> int:
    """Do one of the actions and return the exit code."""
    if arguments.action == "policy":
        return _policy(arguments, console)
    return _list(arguments, console) if arguments.action == "list" else _clean(arguments, console)


def _policy(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.backends.sagemaker.policy import Scope, caller_policy, role_policy, trust_policy
    from breedclf.backends.sagemaker.settings import SageMakerSettings, session_region

    settings = SageMakerSettings.given(role=arguments.role_arn, region=arguments.region)
    scope = Scope.of(settings, region=session_region(), account=arguments.account)
    policies = {
        "trust": trust_policy(),
        "role": role_policy(settings, scope),
        "caller": caller_policy(settings, scope),
    }
    chosen = next((name for name in policies if getattr(arguments, name)), None)
    document: Any = policies if chosen is None else policies[chosen]
    console.result(document, json.dumps(document, indent=2))
    return 0


def _list(arguments: argparse.Namespace, console: Console) -> int:
    inventory, now = _inventory(arguments), time.time()
    things, folders = inventory.things(), inventory.folders()
    document = {
        "things": [thing.to_dict(now) for thing in things],
        "storage": [vars(folder) for folder in folders],
    }
    lines = [_as_text(thing, now) for thing in things] or ["nothing in SageMaker"]
    lines += [f"{folder.uri}  {folder.objects} objects  {folder.size_bytes / 1e6:,.1f} MB" for folder in folders]
    console.result(document, "\n".join(lines))
    return 0


def _clean(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.backends.sagemaker.inventory import clean, cleaning

    inventory, now = _inventory(arguments), time.time()
    todo = cleaning(
        inventory.things(), now=now, older_than_days=arguments.older_than, stop_running=arguments.stop_running
    )
    problems = {} if arguments.dry_run else clean(inventory, todo)
    done = [f"{thing.kind} {thing.name}" for thing in todo.deleted if f"{thing.kind} {thing.name}" not in problems]
    stopped = [f"{thing.kind} {thing.name}" for thing in todo.stopped if f"{thing.kind} {thing.name}" not in problems]
    running = [f"{thing.kind} {thing.name}" for thing in todo.left if thing.runs]
    document = {
        "dry_run": arguments.dry_run,
        "deleted": done,
        "stopped": stopped,
        "still_running": running,
        "problems": problems,
    }
    would = "would " if arguments.dry_run else ""
    lines = [
        *(f"{would}stop {each}" for each in stopped),
        *(f"{would}delete {each}" for each in done),
        *(f"runs on: {each}; --stop-running stops it" for each in running),
    ]
    console.result(document, "\n".join(lines) or "nothing to clean")
    for what, message in problems.items():
        console.error(f"{what}: {message}")
    return JobError.exit_code if problems else 0


def _inventory(arguments: argparse.Namespace) -> Any:
    from breedclf.backends.registry import backend_named
    from breedclf.backends.sagemaker.inventory import Inventory

    return Inventory(backend_named("sagemaker", region=arguments.region), now=time.time)  # type: ignore[arg-type]


def _as_text(thing: Any, now: float) -> str:
    cost = f"unknown cost ({thing.why_unknown})" if thing.cost is None else f"${thing.cost:,.2f}"
    return f"{thing.kind}  {thing.name}  {thing.status}  {(now - thing.created) / 86_400:.1f} days  {cost}"
