"""`breedclf deploy MODEL`: put a model behind an address that outlives the command."""

from __future__ import annotations

import argparse

from breedclf.api.deployment import Deployment, serving_backend
from breedclf.cli.console import Console
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.serving.engines.flags import add_engine_flags, engine_choice

DEFAULT_BACKEND = "local"
DEFAULT_TTL_SECONDS = 8 * 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_argument, help="model folder that a training wrote (OUT/model)"
    )
    parser.add_argument("--name", metavar="NAME", help="the endpoint's name (default: one is made)")
    parser.add_argument("--backend", default=DEFAULT_BACKEND, metavar="NAME", help="where to serve (default: local)")
    parser.add_argument(
        "--ttl-seconds",
        type=float,
        default=DEFAULT_TTL_SECONDS,
        metavar="SECONDS",
        help="delete the endpoint this many seconds after this command started (default: 8 hours)",
    )
    parser.add_argument(
        "--idle-seconds", type=float, metavar="SECONDS", help="delete it after this many seconds without requests"
    )
    parser.add_argument("--port", type=int, default=0, metavar="PORT", help="port on this machine (default: any)")
    parser.add_argument(
        "--image-context",
        type=path_argument,
        metavar="DIR",
        help="only write the folder of a container image: docker build DIR",
    )
    parser.add_argument("--update", action="store_true", help="replace the model of the endpoint NAME")
    add_engine_flags(parser)


def run(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.image_context is not None:
        from breedclf.backends.common.image_context import write_image_context

        files = write_image_context(arguments.model, arguments.image_context)
        text = f"wrote {', '.join(files)}\nnext: docker build -t breeds {arguments.image_context}"
        console.result({"folder": str(arguments.image_context), "files": files}, text)
        return 0
    backend = serving_backend(arguments.backend)
    choice = engine_choice(arguments)
    if arguments.update:
        if arguments.name is None:
            raise ConfigError("--update needs --name, the endpoint whose model is replaced")
        endpoint = Deployment.attach(arguments.name, backend=backend).update(arguments.model)
    else:
        deployment = Deployment(
            arguments.model,
            backend=backend,
            name=arguments.name,
            ttl_seconds=arguments.ttl_seconds,
            idle_seconds=arguments.idle_seconds,
            detach=True,
            port=arguments.port,
            engine=choice.name,
            precision=choice.precision,
            calibration=choice.calibration,
            max_accuracy_drop=choice.max_accuracy_drop,
        )
        console.note(f"starting endpoint {deployment.spec.name}; its answers are compared with the classifier's first")
        endpoint = deployment.deploy()
    known = endpoint.describe()
    there = "" if arguments.backend == DEFAULT_BACKEND else f" --backend {arguments.backend}"
    console.result(
        {"endpoint": known.name, "url": known.url, "status": known.status, "expires": known.expires},
        f"endpoint {known.name} is {known.status}" + (f": {known.url}" if known.url else "") + "\n"
        f"ask it:  breedclf predict --endpoint {known.name} dog.jpg{there}\n"
        f"end it:  breedclf endpoints delete {known.name}{there}",
    )
    return 0
