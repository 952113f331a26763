"""`breedclf train DIR`: fine-tune in this process and write the model."""

from __future__ import annotations

import argparse
from pathlib import Path

from breedclf.api.trainer import Trainer
from breedclf.cli.console import Console
from breedclf.cli.flags import add_settings_flags, training_config
from breedclf.config import TrainingConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DIR", nargs="?", default=argparse.SUPPRESS, help="folder of pictures")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    add_settings_flags(parser, TrainingConfig, leave_out=["data"])


def run(arguments: argparse.Namespace, console: Console) -> int:
    config = training_config(arguments)
    result = Trainer(config).fit()
    best = result.best
    console.result(
        result.to_dict(),
        f"best epoch {best.epoch}: valid accuracy {best.valid_accuracy:.1%}, valid loss {best.valid_loss:.4f}\n"
        f"model: {result.artifact} ({result.seconds:.1f} s)\n"
        f"next: breedclf evaluate {result.artifact} {config.data}",
    )
    return 0
