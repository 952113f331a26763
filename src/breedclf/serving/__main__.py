"""`python -m breedclf.serving [serve] [MODEL]`: the entry point of a container; SageMaker appends `serve`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from breedclf.runtime.quick_exit import ended_by_sigterm


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a model directory until SIGTERM; return 0, or the exit code of the error."""
    with ended_by_sigterm():  # even during the import of torch, which takes seconds
        return _serve(argv)


def _serve(argv: Sequence[str] | None) -> int:
    from breedclf.errors import BreedclfError
    from breedclf.serving.engines.flags import add_engine_flags, engine_choice
    from breedclf.serving.logs import log_as_json
    from breedclf.serving.server import TOKEN_VARIABLE, Address, default_port, serve

    argv_list = list(sys.argv[1:] if argv is None else argv)
    if argv_list[:1] == ["serve"]:
        argv_list = argv_list[1:]
    parser = argparse.ArgumentParser(prog="python -m breedclf.serving", description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, help="model directory (default: SageMaker's)")
    parser.add_argument("--host", default=os.environ.get("BREEDCLF_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, help="default: SAGEMAKER_BIND_TO_PORT, or 8080")
    parser.add_argument("--no-token", action="store_true", default=os.environ.get("BREEDCLF_NO_TOKEN") == "1")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME")
    parser.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN")
    add_engine_flags(parser)
    arguments = parser.parse_args(argv_list)
    log_as_json()
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        address = Address(
            host=arguments.host,
            port=default_port() if arguments.port is None else arguments.port,
            token=os.environ.get(TOKEN_VARIABLE) or None,
            no_token=arguments.no_token,
            extra_hosts=tuple(arguments.allow_host),
            origins=tuple(arguments.allow_origin),
        )
        serve(arguments.model or base / "model", address, engine=engine_choice(arguments), ready=_print_url)
    except BreedclfError as error:
        sys.stderr.write(f"breedclf: {error}\n")
        return error.exit_code
    return 0


def _print_url(url: str) -> None:
    sys.stderr.write(f"breedclf: serving on {url}\n")


if __name__ == "__main__":
    sys.exit(main())
