"""Live pages: what open pages are made of is looked at at a pace, once for all readers, and their changes are sent."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import escape

from breedclf.console.content import TAB, Content
from breedclf.console.threads import in_thread
from breedclf.overview.changes import ChangeLog
from breedclf.overview.looks import Seen, seen_looks

HEARTBEAT_SECONDS = 15.0
MOST_PAGES = 100  # that one stream follows
_PAUSE_SECONDS = 0.4
_LONGEST_PAUSE_SECONDS = 5.0
_SHARE = 0.03  # of a core, for all pages of a backend, on average
_MOST_CREDIT_SECONDS = 1.0
_REMADE_SECONDS = 10.0  # after which a page is made again in any case
_BETWEEN_REMADE_SECONDS = 3.0
_KEPT_SECONDS = 30.0
_MOST_TOPICS = 300

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A page that was made: its content, its HTTP status, and what it was made of."""

    content: Content
    status: int
    seen: Seen
    time: float = field(default_factory=time.monotonic)


@dataclass
class _Topic:
    """A page that somebody looks at: what changed in it when, and its latest fragments."""

    target: str
    lane: str
    changes: ChangeLog = field(default_factory=ChangeLog)
    fragments: dict[str, str] = field(default_factory=dict)
    made: Made | None = None
    followers: set[asyncio.Event] = field(default_factory=set)
    left: float = 0.0
    _messages: dict[str, str] = field(default_factory=dict)

    def update(self, made: Made) -> None:
        """Take a page that was made, and wake its followers if it differs."""
        content = made.content
        fragments = {TAB: content.tab, "title": str(escape(content.title)), "subtitle": str(escape(content.subtitle))}
        fragments |= {each.name: str(each.html) for each in content.fragments}
        self.made, self.fragments = made, fragments
        if self.changes.update(fragments):
            self._messages.clear()
            for follower in self.followers:
                follower.set()

    def message(self, cursor: str) -> str:
        """What changed after the cursor as JSON, made once for all who are there."""
        if cursor not in self._messages:
            changes = self.changes.since(cursor)
            changed = {name: self.fragments[name] for name in changes.changed}
            self._messages[cursor] = json.dumps({"changed": changed, "removed": changes.removed})[1:]
        return self._messages[cursor]


class LivePages:
    """Makes pages for the server.

    Args:
        make: turns a page's address into its content, in a thread.
        problem: the content and status of a page that can't be made.
        lane: the backend of an address; no backend waits for another.
    """

    def __init__(
        self,
        make: Callable[[str], Content],
        problem: Callable[[Exception, Seen], tuple[Content, int]],
        lane: Callable[[str], str],
    ) -> None:
        self._make_content = make
        self._problem = problem
        self._lane_of = lane
        self._topics: dict[str, _Topic] = {}
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._logged: set[str] = set()
        self._remade = 0.0
        self.closing: asyncio.Event = asyncio.Event()

    @property
    def followed(self) -> int:
        """How many pages are open."""
        return sum(len(topic.followers) for topic in self._topics.values())

    @property
    def known(self) -> int:
        """How many pages are kept in memory."""
        return len(self._topics)

    async def page(self, target: str) -> tuple[Made, str]:
        """The page now, and the cursor to follow it from."""
        made = await in_thread(self._make, target)
        topic = self._topic(target)
        topic.update(made)
        topic.left = time.monotonic()
        return made, topic.changes.cursor

    async def follow(self, pages: Sequence[tuple[str, str]]) -> AsyncIterator[str]:
        """Server-sent events of pages, given their addresses and cursors: what changed after these, again and again.

        The data of each event has the `page`'s index, its `cursor`, and the fragments that `changed` or were `removed`;
        its id has the cursors of all pages.
        """
        news = asyncio.Event()
        topics = [self._topic(target) for target, _ in pages]
        cursors = [cursor for _, cursor in pages]
        for topic in topics:
            topic.followers.add(news)
            self._start_lane(topic.lane)
        try:
            yield "retry: 1000\n\n"
            while not self.closing.is_set():
                news.clear()
                for index, topic in enumerate(topics):
                    latest = topic.changes.cursor
                    if topic.fragments and latest != cursors[index]:
                        message = topic.message(cursors[index])
                        cursors[index] = latest
                        data = f'{{"page": {index}, "cursor": "{latest}", {message}'
                        yield f"id: {','.join(cursors)}\nevent: fragments\ndata: {data}\n\n"
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await news.wait()
                except TimeoutError:
                    yield "event: beat\ndata: 1\n\n"
        finally:
            for topic in topics:
                topic.followers.discard(news)
                topic.left = time.monotonic()

    async def close(self) -> None:
        """End all events."""
        self.closing.set()
        for task in self._lanes.values():
            task.cancel()
        for topic in self._topics.values():
            for follower in topic.followers:
                follower.set()

    def _topic(self, target: str) -> _Topic:
        topic = self._topics.get(target)
        if topic is None:
            self._forget_old()
            topic = self._topics[target] = _Topic(target, self._lane_of(target), left=time.monotonic())
        return topic

    def _forget_old(self) -> None:
        """Drop pages that nobody follows: those left a while ago, and the oldest of too many."""
        unfollowed = sorted(
            (topic for topic in self._topics.values() if not topic.followers), key=lambda each: each.left
        )
        before, excess = time.monotonic() - _KEPT_SECONDS, len(self._topics) - _MOST_TOPICS
        for index, topic in enumerate(unfollowed):
            if topic.left < before or index < excess:
                del self._topics[topic.target]

    def _start_lane(self, lane: str) -> None:
        if lane not in self._lanes or self._lanes[lane].done():
            self._lanes[lane] = asyncio.create_task(self._keep_current(lane))

    async def _keep_current(self, lane: str) -> None:
        """Make the open pages of a backend again when what they are made of has changed, until none is open."""
        credit = _MOST_CREDIT_SECONDS
        while topics := [topic for topic in self._topics.values() if topic.lane == lane and topic.followers]:
            started = time.monotonic()
            made, cpu = await in_thread(self._make_changed, [(topic.target, topic.made) for topic in topics])
            for topic in topics:
                if topic.target in made:
                    topic.update(made[topic.target])
            took = time.monotonic() - started
            credit = min(_MOST_CREDIT_SECONDS, credit - cpu + _SHARE * took)
            pause = min(_LONGEST_PAUSE_SECONDS, max(_PAUSE_SECONDS, -credit / _SHARE))
            credit += _SHARE * pause
            await asyncio.sleep(pause)
        self._forget_old()

    def _make_changed(self, pages: Sequence[tuple[str, Made | None]]) -> tuple[dict[str, Made], float]:
        """The pages that have to be made again, and the seconds of a core that this took."""
        started = time.thread_time()
        oldest = min((before.time for _, before in pages if before is not None), default=0.0)
        now = time.monotonic()
        due = None
        if oldest < now - _REMADE_SECONDS and self._remade < now - _BETWEEN_REMADE_SECONDS:
            due, self._remade = oldest, now
        made = {}
        for target, before in pages:
            if before is None or before.time == due or not before.seen.is_current():
                made[target] = self._make(target)
        return made, time.thread_time() - started

    def _make(self, target: str) -> Made:
        with seen_looks() as seen:
            try:
                return Made(self._make_content(target), 200, seen)
            except Exception as error:
                content, status = self._problem(error, seen)
                if status == 500 and (text := repr(error)) not in self._logged:
                    self._logged.add(text)
                    log.exception("page %s can't be made", target.partition("?")[0])
                return Made(content, status, seen)
