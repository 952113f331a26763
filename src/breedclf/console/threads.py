"""Work in threads that don't keep the process from ending, however long a backend takes to answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Call the function in a new thread, and return or raise what it does.

    A pool would be emptied by a backend that doesn't answer, and its threads would be waited for at the end.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(set_it: Callable[[], None]) -> None:
        if not done.done():
            set_it()

    def work() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            outcome: Callable[[], None] = lambda error=error: done.set_exception(error)  # type: ignore[misc]  # noqa: E731
        else:
            outcome = lambda: done.set_result(result)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(finish, outcome)

    threading.Thread(target=work, name="console", daemon=True).start()
    return await done
