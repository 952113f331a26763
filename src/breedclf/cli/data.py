"""`breedclf data check|review|get|upload`: check images, review labels, get a public dataset, upload to S3."""

from __future__ import annotations

import argparse

from breedclf.cli import EXIT_PROBLEMS_FOUND, review
from breedclf.cli.common import add_common_options
from breedclf.cli.terminal import Terminal
from breedclf.config import nearest
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="decode every image and list problems; writes nothing into DIR")
    check.add_argument(
        "folder", metavar="DIR|TABLE", type=path_argument, help="folder with train/, or with class folders, or table"
    )
    check.add_argument("--fresh", action="store_true", help="read all files again, including unchanged ones")
    check.add_argument("--tiny-px", type=int, default=32, metavar="PX", help="report smaller images (default: 32)")
    check.add_argument(
        "--cache-dir", type=path_argument, metavar="DIR", help="folder of the cache (default: the platform's)"
    )
    review.add_arguments(actions)
    get = actions.add_parser("get", help="download a public dataset and arrange it in class folders")
    get.add_argument("name", metavar="NAME", help="oxford-pets or udacity-dogs")
    get.add_argument("--output", type=path_argument, metavar="DIR", required=True, help="new or empty folder for it")
    upload = actions.add_parser("upload", help="check a folder and upload its changes to S3, for SageMaker")
    upload.add_argument(
        "folder", metavar="DIR|TABLE", type=path_argument, help="folder with train/, or with class folders, or table"
    )
    upload.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="target, in the region in which jobs will run")
    upload.add_argument("--delete", action="store_true", help="delete files there that aren't in DIR")
    upload.add_argument(
        "--skip-bad", action="store_true", help="upload unreadable images, too; training must skip them"
    )
    upload.add_argument("--no-check", action="store_true", help="don't check the images first")
    upload.add_argument("--threads", type=int, default=16, metavar="N", help="parallel uploads (default: 16)")
    for action in (check, upload):
        action.add_argument(
            "--labels", type=path_argument, metavar="FILE", help="table of the labels, if DIR has no class folders"
        )
    for action in (check, get, upload):
        add_common_options(action)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    match arguments.action:
        case "check":
            return _check(arguments, terminal)
        case "review":
            return review.run(arguments, terminal)
        case "get":
            return _get(arguments, terminal)
    return _upload(arguments, terminal)


def _check(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.data_check import check
    from breedclf.data_check.text import as_text

    examination = check(
        arguments.folder,
        labels=arguments.labels,
        tiny_px=arguments.tiny_px,
        cache_dir=arguments.cache_dir,
        fresh=arguments.fresh,
        quiet=terminal.quiet,
    )
    terminal.result(examination.to_dict(), as_text(examination))
    return 0 if examination.clean else EXIT_PROBLEMS_FOUND


def _get(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.downloads import PUBLISHED, get

    if arguments.name not in PUBLISHED:
        raise ConfigError(f"unknown dataset {arguments.name!r}: {nearest(arguments.name, PUBLISHED)}")
    published = PUBLISHED[arguments.name]
    terminal.note(f"{published.title}; {published.size_bytes / 1e6:,.0f} MB from {published.page}")
    terminal.note(f"license: {published.license}")
    fetched = get(published, arguments.output, quiet=terminal.quiet)
    splits = ", ".join(f"{split} {count:,}" for split, count in fetched.splits.items())
    lines = [f"{sum(fetched.splits.values()):,} images of {fetched.classes} classes in {fetched.output} ({splits})"]
    if fetched.missing:
        lines.append(f"{len(fetched.missing)} listed images are not in the archives, such as {fetched.missing[0]}")
    terminal.result(fetched.to_dict(), "\n".join([*lines, f"next: breedclf data check {fetched.output}"]))
    return 0


def _upload(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.backends.sagemaker.dataset import S3Dataset

    if not 1 <= arguments.threads <= 256:
        raise ConfigError(f"--threads {arguments.threads}: choose 1 to 256")
    dataset = S3Dataset.upload(
        arguments.folder,
        arguments.uri,
        labels=arguments.labels,
        check=not arguments.no_check,
        skip_bad=arguments.skip_bad,
        delete=arguments.delete,
        threads=arguments.threads,
        progress=not terminal.quiet,
    )
    sent = f"sent {dataset.sent_files:,} files, {dataset.sent_bytes / 1e6:,.1f} MB"
    there = f"{len(dataset.manifest.files):,} files, {dataset.manifest.size_bytes / 1e6:,.1f} MB"
    deleted = f", deleted {dataset.deleted_files:,}" if dataset.deleted_files else ""
    terminal.result(
        dataset.to_dict(),
        f"{dataset.uri}: {there}, verified; {sent}{deleted}\nnext: breedclf train {dataset.uri} --backend sagemaker",
    )
    return 0
