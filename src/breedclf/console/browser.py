"""Opens the console in the user's browser without the token in any process's arguments, which others can read."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

_READ_SECONDS = 30.0


@contextlib.contextmanager
def opened_in_browser(address: str) -> Iterator[None]:
    """Open the address in a browser, if there is a display; its token is in a file that only this user can read.

    The file is deleted after half a minute, or at the end of the block.
    """
    if not has_display(os.environ, sys.platform):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="breedclf-console-", ignore_cleanup_errors=True) as folder:
        page = Path(folder, "open.html")
        page.touch(mode=0o600)
        page.write_text(redirecting(address), encoding="utf-8")
        forget = threading.Timer(_READ_SECONDS, lambda: page.unlink(missing_ok=True))
        forget.daemon = True
        forget.start()
        threading.Thread(target=_open, args=(page.as_uri(),), daemon=True).start()
        try:
            yield
        finally:
            forget.cancel()


def has_display(variables: Mapping[str, str], platform: str) -> bool:
    """Whether a browser could show anything.

    Example:
        >>> has_display({}, "linux"), has_display({"DISPLAY": ":0"}, "linux"), has_display({}, "darwin")
        (False, True, True)
    """
    return platform in ("darwin", "win32") or bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY"))


def redirecting(address: str) -> str:
    """A page that leads to the address and leaves itself out of the history."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0; url={escape(address)}"><title>breedclf</title>'
        f'<p><a href="{escape(address)}">Open the console</a></p></html>\n'
    )


def _open(uri: str) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(uri)
