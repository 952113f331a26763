"""`breedclf jobs list|show|logs|stop|clean`: manage jobs from any terminal."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from breedclf.backends.registry import backend_named, backend_names
from breedclf.cli.common import add_common_options, moment, text_table
from breedclf.cli.terminal import Terminal
from breedclf.errors import ConfigError
from breedclf.jobs import Backend, JobDescription
from breedclf.jobs.handle import Job
from breedclf.overview.jobs import choose, job_view, job_views, rows
from breedclf.overview.lists import Choice

_DAY_SECONDS = 86_400


_ACTIONS = {
    "list": "show all jobs",
    "show": "show details of a job",
    "logs": "print a job's log",
    "stop": "ask a job to stop",
    "clean": "delete jobs that have ended",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    for name, help_text in _ACTIONS.items():
        action = actions.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        if name == "list":
            words = "part of a name, a search or a setting's value; or SETTING=VALUE; all of them must match"
            action.add_argument("words", metavar="WORD", nargs="*", help=words)
            action.add_argument("--status", metavar="STATUS", default="", help="only jobs with this status, or Damaged")
            action.add_argument("--newest", type=int, metavar="N", help="only the N newest of them")
        else:
            action.add_argument("names", metavar="NAME", nargs="*", help="name of a job")
        if name == "logs":
            action.add_argument("-f", "--follow", action="store_true", help="follow until the job has ended")
        if name == "clean":
            action.add_argument(
                "--older-than", type=float, metavar="DAYS", help="all jobs that ended DAYS ago or earlier"
            )
        action.add_argument("--backend", default="local", metavar="|".join(backend_names()), help="where the jobs run")
        add_common_options(action)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    backend = backend_named(arguments.backend)
    match arguments.action:
        case "list":
            _list(backend, arguments, terminal)
        case "show":
            _show(backend, _names(arguments), terminal)
        case "logs":
            _logs(backend, _names(arguments), terminal, follow=arguments.follow)
        case "stop":
            _stop(backend, _names(arguments), terminal)
        case "clean":
            _clean(backend, arguments, terminal)
    return 0


def _list(backend: Backend, arguments: argparse.Namespace, terminal: Terminal) -> None:
    if arguments.newest is not None and arguments.newest < 1:
        raise ConfigError(f"--newest {arguments.newest}: list at least one job")
    everything = job_views(backend)
    size = arguments.newest or max(1, len(everything))
    jobs = choose(everything, Choice(" ".join(arguments.words), arguments.status, size=size)).shown[::-1]
    heads = ("NAME", "STATUS", "NOW", "CREATED (UTC)", "SECONDS")
    none = "no jobs; `breedclf train DIR --backend local` starts one"
    if everything:
        none = f"none of {len(everything)} jobs match"
    terminal.result(
        {"jobs": [job.to_dict() for job in jobs]} if terminal.json else None,
        text_table([heads, *rows(jobs, moment)]) if jobs else none,
    )


def _show(backend: Backend, names: Sequence[str], terminal: Terminal) -> None:
    jobs = [backend.describe(name) for name in names]
    documents = [_document(job) for job in jobs]
    terminal.result(documents[0] if len(documents) == 1 else documents, "\n\n".join(_as_text(job) for job in jobs))


def _logs(backend: Backend, names: Sequence[str], terminal: Terminal, *, follow: bool) -> None:
    for name in names:
        lines = Job.attach(name, backend=backend).logs(follow=follow)
        if terminal.json:
            terminal.result({"name": name, "lines": list(lines)}, "")
        else:
            for line in lines:
                terminal.line(line)


def _stop(backend: Backend, names: Sequence[str], terminal: Terminal) -> None:
    for name in names:
        backend.stop(name)
    jobs = [backend.describe(name) for name in names]
    terminal.result(
        {"jobs": [_document(job) for job in jobs]},
        "\n".join(
            f"{job.name} has ended: {job.status}" if job.status.is_final else f"asked {job.name} to stop"
            for job in jobs
        ),
    )


def _clean(backend: Backend, arguments: argparse.Namespace, terminal: Terminal) -> None:
    names = list(arguments.names)
    if arguments.older_than is not None:
        before = time.time() - arguments.older_than * _DAY_SECONDS
        names += [job.name for job in backend.list_jobs() if job.ended is not None and job.ended <= before]
    elif not names:
        raise ConfigError("jobs clean: name the jobs to delete, or add --older-than DAYS (0 means all that have ended)")
    names = list(dict.fromkeys(names))
    for name in names:
        backend.delete(name)
    terminal.result({"deleted": names}, f"deleted {len(names)} job(s)")


def _names(arguments: argparse.Namespace) -> list[str]:
    if not arguments.names:
        raise ConfigError(f"jobs {arguments.action}: name a job; `breedclf jobs list` shows them")
    return list(arguments.names)


def _document(job: JobDescription) -> dict[str, Any]:
    return job_view(job).to_dict()


def _as_text(job: JobDescription) -> str:
    lines = [f"{job.name}: {job.status}, {job.secondary_status}"]
    if job.failure_reason:
        lines.append(f"  reason: {job.failure_reason}")
    lines += [f"  {moment(each.time)}  {each.status}: {each.message}" for each in job.transitions]
    lines += [f"  {name} = {value:g}" for name, value in job.metrics.items()]
    return "\n".join(lines)
