"""`breedclf models push-sagemaker NAME [VERSION]`: a version as a model package in SageMaker's model registry."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from breedclf.cli.console import Console
from breedclf.files.paths import path_argument
from breedclf.model_store.store import DEFAULT_STORE, ModelStore

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.model_packages.packages import RegisteredPackage

ACTION = "push-sagemaker"


def add_arguments(actions: Any) -> argparse.ArgumentParser:
    """Add the action to those of `breedclf models`."""
    help_text = "register a version in SageMaker's model registry; the live version is approved"
    parser: argparse.ArgumentParser = actions.add_parser(
        ACTION, help=help_text, description=help_text, allow_abbrev=False
    )
    parser.add_argument("name", metavar="NAME", help="the model")
    parser.add_argument("version", metavar="VERSION", nargs="?", default="live", help="number or alias (default: live)")
    parser.add_argument("--group", metavar="GROUP", help="model package group (default: the name of the model)")
    parser.add_argument("--region", metavar="REGION", help="AWS region (default: that of the session)")
    parser.add_argument(
        "--store", type=path_argument, metavar="DIR", default=DEFAULT_STORE, help="folder of the models"
    )
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    from breedclf.backends.registry import backend_named

    backend: Any = backend_named("sagemaker", region=arguments.region)
    store = ModelStore(arguments.store)
    package = store.to_sagemaker(arguments.name, arguments.version, backend=backend, group=arguments.group)
    console.result(package.to_dict(), _text(package))
    return 0


def _text(package: RegisteredPackage) -> str:
    done = "registered" if package.created else "already registered"
    return f"{done} as version {package.version} of group {package.group}: {package.approval}\n{package.arn}"
