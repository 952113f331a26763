"""`breedclf deploy MODEL`: serve a model as an endpoint that outlives the command."""

from __future__ import annotations

import argparse

from breedclf.api.deployment import Deployment, serving_backend
from breedclf.backends.registry import backend_names
from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.serving.engines.flags import add_engine_flags, engine_choice

DEFAULT_BACKEND = "local"
DEFAULT_TTL_SECONDS = 8 * 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_argument, help="model directory (OUT/model of a training run)"
    )
    endpoint = parser.add_argument_group("endpoint")
    endpoint.add_argument("--name", metavar="NAME", help="name of the endpoint (default: made from the time)")
    endpoint.add_argument(
        "--backend", default=DEFAULT_BACKEND, metavar="|".join(backend_names()), help="where to serve (default: local)"
    )
    endpoint.add_argument("--update", action="store_true", help="replace the model of the endpoint NAME")
    endpoint.add_argument(
        "--port", type=int, default=0, metavar="PORT", help="port on this machine (default: any free one)"
    )
    lifetime = parser.add_argument_group("lifetime")
    lifetime.add_argument(
        "--ttl-seconds",
        type=float,
        default=DEFAULT_TTL_SECONDS,
        metavar="SECONDS",
        help="delete the endpoint this many seconds after this command started (default: 8 hours)",
    )
    lifetime.add_argument(
        "--idle-seconds", type=float, metavar="SECONDS", help="delete it after this many seconds without requests"
    )
    container = parser.add_argument_group("container")
    container.add_argument(
        "--image-context", type=path_argument, metavar="DIR", help="only write a Docker build context: docker build DIR"
    )
    add_engine_flags(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.image_context is not None:
        from breedclf.backends.common.image_context import write_image_context

        files = write_image_context(arguments.model, arguments.image_context)
        text = f"wrote {', '.join(files)}\nnext: docker build -t classifier {arguments.image_context}"
        terminal.result({"folder": str(arguments.image_context), "files": files}, text)
        return 0
    backend = serving_backend(arguments.backend)
    choice = engine_choice(arguments)
    if arguments.update:
        if arguments.name is None:
            raise ConfigError("--update needs --name, the endpoint to update")
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
        terminal.note(
            f"starting endpoint {deployment.spec.name}; its predictions are compared with the classifier's first"
        )
        endpoint = deployment.deploy()
    known = endpoint.describe()
    flag = "" if arguments.backend == DEFAULT_BACKEND else f" --backend {arguments.backend}"
    terminal.result(
        {"endpoint": known.name, "url": known.url, "status": known.status, "expires": known.expires},
        f"endpoint {known.name} is {known.status}" + (f": {known.url}" if known.url else "") + "\n"
        f"predict:  breedclf predict --endpoint {known.name} dog.jpg{flag}\n"
        f"delete:   breedclf endpoints delete {known.name}{flag}",
    )
    return 0
