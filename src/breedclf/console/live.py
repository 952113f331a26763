"""Live pages: each open page is made again at a pace, once for all who look at it, and its changes are sent."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from markupsafe import escape

from breedclf.console.content import TAB, Content
from breedclf.overview.changes import ChangeLog

Make = Callable[[str], Content]

MIN_PAUSE_SECONDS = 0.4
MAX_SHARE = 0.05  # of a core, for all pages that are open
HEARTBEAT_SECONDS = 15.0
_KEPT_SECONDS = 30.0

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class _Topic:
    """A page that somebody looks at: what changed in it when, and its latest fragments."""

    changes: ChangeLog = field(default_factory=ChangeLog)
    fragments: dict[str, str] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    followers: int = 0
    left: float = 0.0
    task: asyncio.Task[None] | None = None


class LivePages:
    """Makes pages for the server; `make` turns a page's address into its content, in a thread."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._topics: dict[str, _Topic] = {}
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="console")
        self.closing: asyncio.Event = asyncio.Event()

    async def page(self, target: str) -> tuple[Content, str]:
        """The page now, and the cursor to follow it from.

        Raises:
            BreedclfError: there is no such page.
        """
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(self._threads, self._make, target)
        topic = self._topics.setdefault(target, _Topic())
        await self._update(topic, content)
        topic.left = time.monotonic()
        self._forget_old()
        return content, topic.changes.cursor

    async def follow(self, target: str, cursor: str) -> AsyncIterator[str]:
        """Server-sent events: the fragments that changed after the cursor, again and again."""
        topic = self._topics.setdefault(target, _Topic())
        topic.followers += 1
        if topic.task is None:
            topic.task = asyncio.create_task(self._keep_making(target, topic))
        try:
            yield "retry: 1000\n\n"
            while not self.closing.is_set():
                changes = topic.changes.since(cursor)
                if changes.cursor != cursor and topic.fragments:
                    cursor = changes.cursor
                    changed = {name: topic.fragments[name] for name in changes.changed}
                    data = json.dumps({"changed": changed, "removed": changes.removed})
                    yield f"id: {cursor}\nevent: fragments\ndata: {data}\n\n"
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS), topic.news:
                        await topic.news.wait()
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            topic.followers -= 1
            topic.left = time.monotonic()
            if topic.followers == 0 and topic.task is not None:
                topic.task.cancel()
                topic.task = None

    async def close(self) -> None:
        """End all events."""
        self.closing.set()
        for topic in self._topics.values():
            if topic.task is not None:
                topic.task.cancel()
            async with topic.news:
                topic.news.notify_all()

    async def _keep_making(self, target: str, topic: _Topic) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = time.monotonic()
            try:
                content = await loop.run_in_executor(self._threads, self._make, target)
                await self._update(topic, content)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("page %s can't be made", target.partition("?")[0])
            took = time.monotonic() - started
            open_pages = sum(1 for each in self._topics.values() if each.followers)
            await asyncio.sleep(max(MIN_PAUSE_SECONDS, took * open_pages / MAX_SHARE))

    async def _update(self, topic: _Topic, content: Content) -> None:
        fragments = {TAB: content.tab, "subtitle": str(escape(content.subtitle))}
        fragments |= {each.name: str(each.html) for each in content.fragments}
        topic.fragments = fragments
        if topic.changes.update(fragments):
            async with topic.news:
                topic.news.notify_all()

    def _forget_old(self) -> None:
        before = time.monotonic() - _KEPT_SECONDS
        for target in [key for key, each in self._topics.items() if not each.followers and each.left < before]:
            del self._topics[target]
