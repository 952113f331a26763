"""`breedclf export MODEL`: one file for another runtime, after comparing its predictions."""

from __future__ import annotations

import argparse

from breedclf.cli.terminal import Terminal
from breedclf.files.paths import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_argument, help="model directory (OUT/model of a training run)"
    )
    parser.add_argument("--format", metavar="onnx|torch", default="onnx", help="file format (default: onnx)")
    parser.add_argument(
        "--output",
        type=path_argument,
        metavar="FILE",
        help="output file (default: MODEL.onnx or MODEL.pt2, beside the model)",
    )
    parser.add_argument(
        "--data",
        type=path_argument,
        metavar="PATH",
        nargs="+",
        default=(),
        help="folders or files with images to compare on, of which 32 are used (default: synthetic images)",
    )
    parser.add_argument(
        "--feature-bank",
        action=argparse.BooleanOptionalAction,
        help="whether the file also returns distances to training images (default: ONNX files of models with a bank)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from breedclf.exporting.export import export

    result = export(
        arguments.model,
        arguments.output,
        format=arguments.format,
        data=arguments.data,
        overwrite=arguments.overwrite,
        feature_bank=arguments.feature_bank,
    )
    if result.skipped:
        terminal.note(f"{len(result.skipped)} unreadable images were skipped; the first: {result.skipped[0]}")
    images = f"{result.images} {'synthetic ' if result.drawn else ''}images"
    terminal.result(
        result.to_dict(),
        f"compared on {images}: {result.comparison}\nmodel: {result.output} ({result.size_bytes / 1e6:.1f} MB)",
    )
    return 0
