"""`breedclf data check|get`: what is wrong with a folder of pictures, and published pictures to begin with."""

from __future__ import annotations

import argparse
from pathlib import Path

from breedclf.cli import EXIT_PROBLEMS_FOUND
from breedclf.cli.console import Console
from breedclf.config import nearest
from breedclf.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="decode every picture and list what is wrong; writes nothing into DIR")
    check.add_argument("folder", metavar="DIR", type=Path, help="folder with train/, or with the class folders")
    check.add_argument("--fresh", action="store_true", help="read every file again, also those that haven't changed")
    check.add_argument("--tiny-px", type=int, default=32, metavar="PX", help="report smaller pictures (default: 32)")
    check.add_argument("--cache-dir", type=Path, metavar="DIR", help="where to remember (default: the platform's)")
    get = actions.add_parser("get", help="fetch published pictures and arrange them in class folders")
    get.add_argument("name", metavar="NAME", help="which ones: oxford-pets or udacity-dogs")
    get.add_argument("--output", type=Path, metavar="DIR", required=True, help="new or empty folder to put them in")
    for action in (check, get):
        _take_common_options(action)


def run(arguments: argparse.Namespace, console: Console) -> int:
    return _check(arguments, console) if arguments.action == "check" else _get(arguments, console)


def _check(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.learning.doctor import check
    from breedclf.learning.doctor.words import as_text

    examination = check(
        arguments.folder,
        tiny_px=arguments.tiny_px,
        cache_dir=arguments.cache_dir,
        fresh=arguments.fresh,
        quiet=console.quiet,
    )
    console.result(examination.model_dump(mode="json"), as_text(examination))
    return 0 if examination.clean else EXIT_PROBLEMS_FOUND


def _get(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.downloads import PUBLISHED, get

    if arguments.name not in PUBLISHED:
        raise ConfigError(f"no published pictures are called {arguments.name!r}: {nearest(arguments.name, PUBLISHED)}")
    published = PUBLISHED[arguments.name]
    console.note(f"{published.title}; {published.size_bytes / 1e6:,.0f} MB from {published.page}")
    console.note(f"licence: {published.licence}")
    fetched = get(published, arguments.output, quiet=console.quiet)
    splits = ", ".join(f"{split} {count:,}" for split, count in fetched.splits.items())
    lines = [f"{sum(fetched.splits.values()):,} pictures of {fetched.classes} classes in {fetched.output} ({splits})"]
    if fetched.missing:
        lines.append(f"{len(fetched.missing)} listed pictures are not in the archives, such as {fetched.missing[0]}")
    console.result(fetched.to_dict(), "\n".join([*lines, f"next: breedclf data check {fetched.output}"]))
    return 0


def _take_common_options(parser: argparse.ArgumentParser) -> None:
    """The options of every verb, also behind the action's name; absent, they leave what stood before it."""
    for flag, text in (
        ("--json", "print one JSON document on stdout"),
        ("--quiet", "no progress on stderr"),
        ("--debug", "show the traceback of an error"),
    ):
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
