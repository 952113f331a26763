"""The command line: one module a verb, imported only when that verb is asked for, so that help stays fast."""

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
from breedclf.cli.console import Console
from breedclf.errors import BreedclfError, DiskError
from breedclf.files.disk import is_refusal, refusal
from breedclf.runtime.process_signals import EXIT_INTERRUPTED
from breedclf.text.printable import VisibleFormatter, any_encoding

EXIT_PROBLEMS_FOUND = 1

DESCRIPTION = "Fine-tune, tune, profile and deploy image classifiers, on this machine or on Amazon SageMaker."
VERBS = {
    "data": "check a folder of pictures, or fetch a published one",
    "train": "fine-tune a pretrained network on a folder of pictures",
    "profile": "see where a training's time goes, what to change, and whether it helps",
    "evaluate": "measure a trained model on a split of pictures",
    "jobs": "list, show, follow, stop or delete jobs",
    "predict": "name what is in a picture",
    "export": "write a model as one file for other runtimes, after comparing their answers",
    "serve": "answer pictures over HTTP, with a page to try it",
    "deploy": "put a model behind an address, after checking that it answers as measured",
    "endpoints": "list, delete or clear away endpoints",
    "sagemaker": "stand in for Amazon SageMaker on this machine; print policies, list and clean an account",
    "cache": "list or clear the caches",
    "tune": "search for the best hyperparameters and keep the best model",
    "demo": "train, evaluate and predict on pictures drawn for the purpose",
}


class Verb(Protocol):
    """What a module of this package offers: its flags, and what to do with them."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, console: Console) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with any_encoding():
        try:
            return _main(list(sys.argv[1:] if argv is None else argv))
        except BrokenPipeError:  # the reader of our output went away, as `| head` does
            _print_into_the_void()
            return 0
        finally:
            _flush()


def _main(argv: Sequence[str]) -> int:
    arguments = _parser(argv).parse_args(argv)
    console = Console(json=arguments.json, quiet=arguments.quiet)
    try:
        with _log_on_stderr(quiet=arguments.quiet):
            return _verb(arguments.verb).run(arguments, console)
    except BreedclfError as error:
        if arguments.debug:
            raise
        console.error(str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:  # an interrupted training tells how to go on
        console.error(str(interrupt) or "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `main` deals with a reader that went away
        raise
    except OSError as error:  # a file that no other place speaks for
        if arguments.debug or not is_refusal(error):
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _print_into_the_void()
        console.error(f"{error.filename or 'a file'} can't be written: {refusal(error)}; make room, then try again")
        return DiskError.exit_code


def _flush() -> None:
    """What is still to be written, such as help, is written now, while a reader that is gone can be dealt with."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _print_into_the_void()
    except ValueError:  # somebody closed it
        pass


def _print_into_the_void() -> None:
    with Path(os.devnull).open("wb") as void:
        os.dup2(void.fileno(), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Refuses a verb that it doesn't know with the nearest one that it knows."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument VERB: invalid choice: '(.*?)'", message):
            from breedclf.config import nearest  # imports pydantic, which help doesn't need

            message = f"no verb is called {found[1]!r}: {nearest(found[1], VERBS)}"
        super().error(message)


class _VerbParser(argparse.ArgumentParser):
    """Refuses a flag that it doesn't know with the nearest one that it knows, and in a line: a verb has many flags."""

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
    """The whole parser, in which only the asked verb knows its flags."""
    parser = _Parser(prog="breedclf", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"breedclf {breedclf.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_VerbParser)
    asked = next((word for word in argv if not word.startswith("-")), None)
    for name, help_text in VERBS.items():
        verb = verbs.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        add_common_options(verb, default=False)
        if name == asked:
            _verb(name).add_arguments(verb)
    return parser


def _verb(name: str) -> Verb:
    return cast(Verb, import_module(f"breedclf.cli.{name}"))


@contextmanager
def _log_on_stderr(*, quiet: bool) -> Iterator[None]:
    """Within it the library's log goes to stderr; the caller's own arrangement comes back after."""
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
