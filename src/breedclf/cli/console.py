"""`breedclf console`: jobs, searches, endpoints and models in a browser."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from breedclf.backends.registry import backend_named, backend_names
from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument
from breedclf.model_store.store import DEFAULT_STORE
from breedclf.overview.overview import DEFAULT_RUNS, Overview, places_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, metavar="PORT", help="port, 0 for any free one (default: 0)")
    parser.add_argument(
        "--home", type=path_argument, metavar="DIR", help="folder of jobs (default: BREEDCLF_HOME, or .breedclf)"
    )
    parser.add_argument(
        "--runs",
        type=path_argument,
        default=DEFAULT_RUNS,
        metavar="DIR",
        help="folder of journeys and reports (default: runs)",
    )
    parser.add_argument(
        "--store",
        type=path_argument,
        default=DEFAULT_STORE,
        metavar="DIR",
        help="folder of models (default: runs/models)",
    )
    parser.add_argument(
        "--data",
        type=path_argument,
        action="append",
        default=[],
        metavar="DIR|TABLE",
        help="show this dataset, also if nothing uses it; repeat it for several",
    )
    parser.add_argument(
        "--backend",
        action="append",
        metavar="|".join(backend_names()),
        help="where jobs run; repeat it to show several (default: local)",
    )
    parser.add_argument("--read-only", action="store_true", help="show everything, do nothing")
    parser.add_argument(
        "--export",
        type=path_argument,
        metavar="DIR",
        help="write all pages as files into a new folder, instead of serving them",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="don't open a browser (none is opened with --json either)"
    )


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if not 0 <= arguments.port <= 65_535:
        raise ConfigError(f"--port {arguments.port}: choose one from 1 to 65535, or 0 for any free port")
    places = Folders(arguments.home, arguments.runs, arguments.store, tuple(arguments.data))
    overviews = overviews_of(arguments.backend or ["local"], places)
    if arguments.export is not None:
        return _export(overviews, arguments.export, terminal)
    from breedclf.console.browser import opened_in_browser
    from breedclf.console.server import run_console

    with contextlib.ExitStack() as until_the_end:

        def ready(address: str) -> None:
            terminal.result({"url": address}, f"console: {address}")
            terminal.note("press Ctrl-C to end it; jobs go on")
            if not arguments.no_browser and not arguments.json:
                until_the_end.enter_context(opened_in_browser(address))

        run_console(overviews, port=arguments.port, read_only=arguments.read_only, ready=ready)
    return 0


def _export(overviews: Mapping[str, Overview], folder: Path, terminal: Terminal) -> int:
    from breedclf.console.export import export_console

    exported = export_console(overviews, folder)
    index = exported.folder / "index.html"
    terminal.result(
        {"folder": str(exported.folder), "pages": exported.pages}, f"exported: {index} ({exported.pages} pages)"
    )
    return 0


@dataclass(frozen=True)
class Folders:
    """The folders that are shown: `home` of the backend if None, and datasets that nothing else names."""

    home: Path | None
    runs: Path
    store: Path
    data: tuple[Path, ...] = ()


def overviews_of(names: Sequence[str], folders: Folders) -> dict[str, Overview]:
    """The overviews of backends by the names that pages show; one of each name."""
    found = [overview_of(name, folders) for name in dict.fromkeys(names)]
    return {overview.label: overview for overview in found}


def overview_of(name: str, folders: Folders) -> Overview:
    """The overview of a backend by name."""
    home = folders.home
    backend = backend_named(name) if home is None else backend_named(name, home=home)
    places = places_of(backend, home=home, runs=folders.runs, store=folders.store, data=folders.data)
    return Overview(backend, places)
