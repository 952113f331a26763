"""`breedclf endpoints list|delete|reap`: what is being served, and how it ends."""

from __future__ import annotations

import argparse
import time

from breedclf.api.deployment import Deployment, serving_backend
from breedclf.cli.common import add_common_options, text_table
from breedclf.cli.terminal import Terminal
from breedclf.errors import EndpointError
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus
from breedclf.overview.endpoints import endpoint_views, rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    listing = actions.add_parser("list", help="show all endpoints")
    deleting = actions.add_parser("delete", help="take endpoints down, once they have answered what they took")
    deleting.add_argument("names", nargs="+", metavar="NAME", help="endpoints")
    reaping = actions.add_parser("reap", help="clear away endpoints that failed, or whose time or processes are over")
    reaping.add_argument("--older-than", type=float, metavar="SECONDS", help="and take down those that are older")
    for action in (listing, deleting, reaping):
        action.add_argument("--backend", default="local", metavar="NAME", help="where they are (default: local)")
        add_common_options(action)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    backend = serving_backend(arguments.backend)
    if arguments.action == "list":
        known = endpoint_views(backend)
        heads = ("NAME", "STATUS", "URL", "ENDS IN", "WHY")
        text = text_table([heads, *rows(known, time.time())]) if known else "no endpoints"
        terminal.result([each.to_dict() for each in known], text)
        return 0
    names = arguments.names if arguments.action == "delete" else _overdue(backend.list_endpoints(), arguments)
    problems: dict[str, str] = {}
    deleted = []
    for name in names:
        try:
            Deployment.attach(name, backend=backend).delete()
            deleted.append(name)
        except EndpointError as error:
            problems[name] = str(error)
    terminal.result({"deleted": deleted, "problems": problems}, f"deleted {', '.join(deleted) or 'nothing'}")
    for message in problems.values():
        terminal.error(message)
    return EndpointError.exit_code if problems else 0


def _overdue(known: list[EndpointDescription], arguments: argparse.Namespace) -> list[str]:
    limit, now = arguments.older_than, time.time()
    return [
        each.name
        for each in known
        if each.status is EndpointStatus.FAILED
        or (each.expires is not None and each.expires <= now)
        or (limit is not None and now - each.created > limit)
    ]
