"""`breedclf models push-sagemaker NAME [VERSION]`: a version as a model package in SageMaker's model registry."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from breedclf.cli.models.action import ModelsAction
from breedclf.cli.terminal import Terminal
from breedclf.model_store.records import LIVE
from breedclf.model_store.store import ModelStore

if TYPE_CHECKING:
    from breedclf.backends.sagemaker.model_packages.packages import RegisteredPackage


def _add_arguments(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="the model")
    action.add_argument("version", metavar="VERSION", nargs="?", default=LIVE, help="number or alias (default: live)")
    action.add_argument("--group", metavar="GROUP", help="model package group (default: the name of the model)")
    action.add_argument("--region", metavar="REGION", help="AWS region (default: that of the session)")


def _run(store: ModelStore, arguments: argparse.Namespace, terminal: Terminal) -> None:
    from breedclf.backends.registry import backend_named

    backend: Any = backend_named("sagemaker", region=arguments.region)
    package = store.to_sagemaker(arguments.name, arguments.version, backend=backend, group=arguments.group)
    terminal.result(package.to_dict(), _text(package))


def _text(package: RegisteredPackage) -> str:
    done = "registered" if package.created else "already registered"
    return f"{done} as version {package.version} of group {package.group}: {package.approval}\n{package.arn}"


ACTION = ModelsAction(
    "register a version in SageMaker's model registry; the live version is approved", _run, _add_arguments
)
