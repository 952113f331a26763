"""What pages show of commands that run, or ran, in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Action, Links
from breedclf.overview.tasks import TaskView
from breedclf.reporting.blocks import callout

Result = Callable[[TaskView], Markup | str]


def tasks_part(heading: str, tasks: Iterable[TaskView], links: Links, result: Result | None = None) -> Markup:
    """Those that run, and the latest that ended; nothing if there are none.

    Args:
        heading: of the part.
        tasks: of one subject, the latest first.
        links: where pages are.
        result: what is shown of a completed task; None if another part of the page shows its result.
    """
    known = list(tasks)
    ended = [task for task in known if not task.is_active][:1]
    if result is None:
        ended = [task for task in ended if task.status != "Completed"]
    shown = [*(task for task in known if task.is_active), *ended]
    if not shown:
        return Markup("")
    parts = Markup("").join(_task(task, links, result) for task in shown)
    return Markup('<h2>{}</h2><div class="tasks">{}</div>').format(heading, parts)


def _task(task: TaskView, links: Links, result: Result | None) -> Markup:
    line = Markup('<p class="task-line">{} <span>{}</span> <span>{}</span> <code>{}</code></p>').format(
        html.badge(task.status),
        html.moment(task.started),
        html.running(task.started, task.ended),
        Action("", "", {}, task.command).command_line,
    )
    parts = [line]
    log = task.log().strip()
    if task.status == "Failed":
        parts.append(callout("bad", "It failed", _reason(log) or "It ended without saying why."))
    elif task.status == "Completed" and result is not None:
        parts.append(Markup("{}").format(result(task)))
    if log and (task.is_active or task.status == "Failed"):
        parts.append(Markup('<div class="log"><pre tabindex="0" aria-label="Output">{}</pre></div>').format(log))
    if task.is_active:
        stop = Action(
            "stop-task", "Stop", {"task": task.name}, ["kill", "--", f"-{task.process.pid}"], "Stop this command?"
        )
        parts.append(html.actions([stop], links))
    return Markup('<div class="task">{}</div>').format(Markup("").join(parts))


def _reason(log: str) -> str:
    """The last line of a log, which says why a command ended."""
    return log.rpartition("\n")[2].removeprefix("breedclf: ")
