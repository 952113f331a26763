"""What an action of `breedclf models` is: its help, its flags, and what it does with a store."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from breedclf.cli.terminal import Terminal
from breedclf.model_store.store import ModelStore


def no_arguments(_action: argparse.ArgumentParser) -> None:
    """An action without flags of its own."""


@dataclass(frozen=True)
class ModelsAction:
    """An action; `add_arguments` adds its flags, and `run` takes the store of `--store`."""

    help: str
    run: Callable[[ModelStore, argparse.Namespace, Terminal], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
