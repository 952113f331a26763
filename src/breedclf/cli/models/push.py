"""`breedclf models push`: publish a version of a model, or a model directory, on Hugging Face."""

from __future__ import annotations

import argparse

from breedclf.cli.models.action import ModelsAction
from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError
from breedclf.files.model_folder import has_card, model_directory_at
from breedclf.files.paths import path_argument, user_path
from breedclf.model_store.records import LIVE
from breedclf.model_store.store import ModelStore

_USAGE = "breedclf models push [-h] NAME [VERSION] REPOSITORY, or MODEL REPOSITORY"


def _add_arguments(action: argparse.ArgumentParser) -> None:
    """Add the arguments of `push`."""
    action.usage = f"{_USAGE} [--public] [--evaluation DIR]"
    action.add_argument(
        "words",
        nargs="+",
        metavar="NAME [VERSION] REPOSITORY",
        help="name of the model and one of its versions or aliases (default: live), or a model directory; then the "
        "repository, as in user/name",
    )
    action.add_argument(
        "--public", action="store_true", help="let anyone see the repository, if it is created (default: private)"
    )
    action.add_argument(
        "--evaluation",
        type=path_argument,
        metavar="DIR",
        help="folder of `breedclf evaluate` with the accuracy for the model card (default: the one that is known of "
        "this model)",
    )
    action.add_argument("--message", metavar="TEXT", help="message of the commit")


def _run(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    """Publish; the token is that of HF_TOKEN or of `hf auth login`."""
    from breedclf.evaluation.model_card import model_card
    from breedclf.model_store.cards import stored_card
    from breedclf.model_store.hub import push_to_hub

    *words, repository = arguments.words
    if len(words) == 1 and has_card(folder := model_directory_at(user_path(words[0], "model"))):
        readme = model_card(folder, arguments.evaluation, repository=repository)
    elif len(words) in (1, 2):
        name, version = words[0], words[1] if len(words) == 2 else LIVE
        folder = store.model_directory(name, version)
        readme = (
            stored_card(store, name, version, repository=repository)
            if arguments.evaluation is None
            else model_card(folder, arguments.evaluation, repository=repository)
        )
    else:
        raise ConfigError(f"models push got {' '.join(arguments.words)!r}; the usage is {_USAGE}")
    page = push_to_hub(folder, repository, readme=readme, private=not arguments.public, message=arguments.message)
    terminal.result({"repository": repository, "url": page}, f"model: {page}")


ACTION = ModelsAction("publish a version, or a model directory, on Hugging Face", _run, _add_arguments)
