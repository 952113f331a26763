"""Where progress is shown: in the log if it wants it, on a terminal or in a notebook, and nowhere else."""

from __future__ import annotations

import io
import logging
import sys
from html import escape
from typing import Any
from uuid import uuid4

from tqdm import tqdm

_DELAY_SECONDS = 0.5
_NOTEBOOK_TEXT = "{desc}: {percentage:.0f}%, {n_fmt} of {total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def show_line(log: logging.Logger, text: str) -> None:
    """Show a line of progress once: in the log if a handler wants it, else in the notebook or on the terminal."""
    if log.isEnabledFor(logging.INFO) and log.hasHandlers():
        log.info("%s", text)
    elif in_notebook():
        tqdm.write(text, file=sys.stdout)
    elif sys.stderr.isatty():
        tqdm.write(text, file=sys.stderr)


def progress_bar(
    title: str, *, total: int | None = None, unit: str = "img", unit_scale: bool = False, hidden: bool = False
) -> tqdm[Any]:
    """A bar on a terminal or in a notebook that disappears at its end; elsewhere, or if `hidden`, it shows nothing."""
    settings: dict[str, Any] = {"desc": title, "total": total, "unit": unit, "unit_scale": unit_scale, "leave": False}
    if in_notebook():
        return NotebookBar(**settings, disable=hidden)
    bar: tqdm[Any] = tqdm(**settings, disable=True if hidden else None)
    return bar


class NotebookBar(tqdm):  # type: ignore[type-arg]  # not generic at run time
    """A bar as one HTML output that is updated in place; it needs no widgets, and is empty at the end.

    It appears once the work has taken half a second.
    """

    def __init__(self, **settings: Any) -> None:
        self._output_id = uuid4().hex
        self._is_shown = False
        super().__init__(
            **settings,
            delay=_DELAY_SECONDS,
            mininterval=0.3,
            file=io.StringIO(),
            bar_format=_NOTEBOOK_TEXT if settings.get("total") else None,
        )

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002 - tqdm's signature
        """Show the present state, or nothing if `msg` is empty."""
        from IPython import display as notebook

        text = str(self) if msg is None else msg
        most = "" if self.total is None else f' value="{min(self.n, self.total)}" max="{self.total}"'
        html = f"<progress{most}></progress> {escape(text)}" if text else ""
        content = {"text/html": html, "text/plain": text}
        if self._is_shown:
            notebook.update_display(content, raw=True, display_id=self._output_id)  # type: ignore[no-untyped-call]
        elif text:
            notebook.display(content, raw=True, display_id=self._output_id)  # type: ignore[no-untyped-call]
            self._is_shown = True
