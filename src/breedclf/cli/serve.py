"""`breedclf serve MODEL`: predict images over HTTP until Ctrl-C, with a page to try it."""

from __future__ import annotations

import argparse
import os

from breedclf.cli.terminal import Terminal
from breedclf.files.paths import path_argument
from breedclf.runtime.quick_exit import ended_by_sigterm
from breedclf.serving.engines.flags import add_engine_flags, engine_choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_argument, help="model directory (OUT/model of a training run)"
    )
    network = parser.add_argument_group("network")
    network.add_argument("--host", default="127.0.0.1", help="host to listen on (default: this machine only)")
    network.add_argument(
        "--port", type=int, metavar="PORT", help="port, 0 for any free one (default: SAGEMAKER_BIND_TO_PORT, or 8080)"
    )
    access = parser.add_argument_group("access")
    access.add_argument(
        "--token", metavar="TOKEN", help="bearer token that clients must send (better: the variable BREEDCLF_TOKEN)"
    )
    access.add_argument("--no-token", action="store_true", help="serve other machines without a token")
    access.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="host name under which the server is reached"
    )
    access.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="website whose scripts may send requests, such as https://example.org; * for all (default: none)",
    )
    add_engine_flags(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    with ended_by_sigterm():
        return _serve(arguments, terminal)


def _serve(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.inference.model_directory import read_card
    from breedclf.serving.logs import log_as_json
    from breedclf.serving.server import TOKEN_VARIABLE, Address, default_port, serve

    address = Address(
        host=arguments.host,
        port=default_port() if arguments.port is None else arguments.port,
        token=arguments.token or os.environ.get(TOKEN_VARIABLE) or None,
        no_token=arguments.no_token,
        extra_hosts=tuple(arguments.allow_host),
        origins=tuple(arguments.allow_origin),
    )
    card = read_card(arguments.model)
    log_as_json()

    def ready(url: str) -> None:
        terminal.result(
            {"url": url, "model": str(arguments.model), "classes": len(card.labels)},
            f"serving {arguments.model} ({len(card.labels)} classes): open {url} in a browser; press Ctrl-C to stop",
        )

    serve(arguments.model, address, engine=engine_choice(arguments), ready=ready)
    return 0
