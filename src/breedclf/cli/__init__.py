"""The command line: one module per command, imported only when that command runs, so that help stays fast."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

import breedclf
from breedclf.cli.common import add_common_options
from breedclf.cli.terminal import Terminal
from breedclf.config.aliases import renamed_flags
from breedclf.errors import BreedclfError, ConfigError, DiskError
from breedclf.files.disk import is_refusal, refusal
from breedclf.runtime.process_signals import EXIT_INTERRUPTED, ending_at_once
from breedclf.text.printable import VisibleFormatter, any_encoding

EXIT_PROBLEMS_FOUND = 1

DESCRIPTION = "Fine-tune, tune, profile and deploy image classifiers, on this machine or on Amazon SageMaker."
COMMANDS = {
    "journey": "from a dataset to a deployed model: every step below in one command, with one page",
    "data": "check an image folder, download a public dataset, or upload one to S3",
    "train": "fine-tune a pretrained network on a folder of images",
    "backbones": "list networks, or compare some on your images",
    "profile": "show where training time goes, what to change, and whether it helps",
    "evaluate": "evaluate a model on a split of a dataset",
    "jobs": "list, show, follow, stop or delete jobs",
    "predict": "classify images",
    "export": "write a model as one file for other runtimes, after comparing their predictions",
    "serve": "serve a model over HTTP, with a page to try it",
    "deploy": "deploy a model as an endpoint, after checking its predictions",
    "endpoints": "list, delete or clean up endpoints",
    "models": "store models with versions, compare them, and decide which one is live",
    "console": "jobs, searches, endpoints and models in a browser",
    "sagemaker": "emulate Amazon SageMaker on this machine; print policies, list and clean an account",
    "cache": "list or clear the caches",
    "tune": "search for the best hyperparameters and save the best model",
    "demo": "the journey on synthetic images, without an account, Docker or network",
}


class Command(Protocol):
    """A module of this package: its flags, and what to do with them."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, terminal: Terminal) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with any_encoding():
        try:
            return _main(list(sys.argv[1:] if argv is None else argv))
        except BrokenPipeError:  # the reader of the output is gone, as with `| head`
            _discard_output()
            return 0
        finally:
            _flush()


def _main(argv: Sequence[str]) -> int:
    try:
        argv = renamed_flags(argv)
    except ConfigError as error:
        sys.stderr.write(f"breedclf: error: {error}\n")
        return error.exit_code
    arguments = _parser(argv).parse_args(argv)
    path = list(sys.path)
    terminal = Terminal(json=arguments.json, quiet=arguments.quiet)
    try:
        with _log_on_stderr(quiet=arguments.quiet):
            return _command(arguments.command).run(arguments, terminal)
    except BreedclfError as error:
        if arguments.debug:
            raise
        terminal.error(str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:  # its message says how to continue an interrupted run
        terminal.error(str(interrupt) or "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # handled by `main`
        raise
    except OSError as error:  # of a file that nothing else handles
        if arguments.debug or not is_refusal(error):
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        terminal.error(f"{error.filename or 'a file'} can't be written: {refusal(error)}; make room, then try again")
        return DiskError.exit_code
    finally:
        sys.path[:] = path


def _flush() -> None:
    """Write buffered output, such as help, while a broken pipe can still be handled."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except ValueError:  # it was closed
        pass


def _discard_output() -> None:
    with Path(os.devnull).open("wb") as void:
        os.dup2(void.fileno(), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Refuses an unknown command with the nearest known one."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument COMMAND: invalid choice: '(.*?)'", message):
            from breedclf.config import nearest  # imports pydantic, which help doesn't need

            message = f"unknown command {found[1]!r}: {nearest(found[1], COMMANDS)}"
        super().error(message)


class _CommandParser(argparse.ArgumentParser):
    """Refuses an unknown flag with the nearest known one, without the long usage of a command with many flags."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n{self.prog} --help lists all arguments\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
            self.error(f"unknown argument {unknown[0]}" + (f": did you mean {near[0]}?" if near else ""))
        return namespace, unknown


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, in which only the command to be run has its flags."""
    parser = _Parser(prog="breedclf", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"breedclf {breedclf.__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        if name == chosen:
            _command(name).add_arguments(command)
        add_common_options(command, default=False)
    return parser


def _command(name: str) -> Command:
    with ending_at_once():
        return cast(Command, import_module(f"breedclf.cli.{name}"))


@contextmanager
def _log_on_stderr(*, quiet: bool) -> Iterator[None]:
    """Send the library's log to stderr for the block, then restore the caller's handlers."""
    logger = logging.getLogger("breedclf")
    before = logger.handlers, logger.level, logger.propagate
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
