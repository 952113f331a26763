"""`breedclf export MODEL`: one file for another runtime, compared with the model folder first."""

from __future__ import annotations

import argparse

from breedclf.cli.console import Console
from breedclf.files.paths import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_argument, help="model folder that a training wrote (OUT/model)"
    )
    parser.add_argument("--format", metavar="onnx|torch", default="onnx", help="format of the file (default: onnx)")
    parser.add_argument(
        "--output",
        type=path_argument,
        metavar="FILE",
        help="the file (default: MODEL.onnx or MODEL.pt2, beside the model)",
    )
    parser.add_argument(
        "--data",
        type=path_argument,
        metavar="PATH",
        nargs="+",
        default=(),
        help="folders or files with pictures to compare on, of which 32 are taken (default: drawn pictures)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")


def run(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.exporting.export import export

    result = export(
        arguments.model,
        arguments.output,
        format=arguments.format,
        data=arguments.data,
        overwrite=arguments.overwrite,
    )
    if result.skipped:
        console.note(f"{len(result.skipped)} unreadable pictures were left out; the first: {result.skipped[0]}")
    pictures = f"{result.images} {'drawn ' if result.drawn else ''}pictures"
    console.result(
        result.to_dict(),
        f"compared on {pictures}: {result.comparison}\nmodel: {result.output} ({result.size_bytes / 1e6:.1f} MB)",
    )
    return 0
