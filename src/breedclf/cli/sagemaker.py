"""`breedclf sagemaker ACTION`: an emulator of Amazon SageMaker, and tools for a whole account."""

from __future__ import annotations

import argparse
import shlex
import signal
import threading

from breedclf.cli import sagemaker_account
from breedclf.cli.common import add_common_options
from breedclf.cli.terminal import Terminal
from breedclf.files.paths import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    emulate = actions.add_parser("emulate", help="emulate SageMaker for AWS SDKs and the AWS CLI, until Ctrl-C")
    server = emulate.add_argument_group("server")
    server.add_argument("--port", type=int, default=0, metavar="PORT", help="port (default: any free one)")
    server.add_argument("--s3-endpoint", metavar="URL", help="S3 to use (default: one in memory, by moto)")
    jobs = emulate.add_argument_group("jobs")
    jobs.add_argument(
        "--home", type=path_argument, metavar="DIR", help="folder of jobs and models (default: as for local jobs)"
    )
    jobs.add_argument("--cores", type=int, metavar="N", help="CPU cores for all jobs together (default: all)")
    jobs.add_argument(
        "--python", type=path_argument, metavar="FILE", help="interpreter that runs containers (default: this one)"
    )
    jobs.add_argument(
        "--keep-jobs", action="store_true", help="leave jobs running at the end, for the next emulator with this --home"
    )
    parsers = [emulate]
    for name, help_text in sagemaker_account.ACTIONS.items():
        parsers.append(actions.add_parser(name, help=help_text, description=help_text, allow_abbrev=False))
        sagemaker_account.add_action(name, parsers[-1])
    for action in parsers:
        add_common_options(action)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.action == "emulate":
        return _emulate(arguments, terminal)
    return sagemaker_account.run_action(arguments, terminal)


def _emulate(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.backends.emulator.access.keys import shell_lines
    from breedclf.backends.emulator.server import emulator
    from breedclf.backends.local.backend import LocalBackend

    local = LocalBackend(arguments.home, cores=arguments.cores, python=arguments.python)
    ended = threading.Event()
    ends_jobs = not arguments.keep_jobs
    with emulator(local, port=arguments.port, s3_endpoint=arguments.s3_endpoint, end_jobs=ends_jobs) as running:
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        file = running.environment_file
        terminal.result(
            {"url": running.url, "environment": running.environment, "environment_file": str(file)},
            f"emulating SageMaker on {running.url}; press Ctrl-C to stop. In another terminal, paste these "
            f"lines, or run `. {shlex.quote(str(file))}`:\n\n{shell_lines(running.environment)}",
        )
        try:
            ended.wait()
        except KeyboardInterrupt:
            terminal.note("stopping, with all jobs" if ends_jobs else "stopping; jobs go on")
    return 0
