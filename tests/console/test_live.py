"""Open pages: restarts of the console, and what changed while a page was asleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from breedclf.console.content import Content, Fragment
from breedclf.console.live import LivePages
from breedclf.overview.looks import Seen
from tests.browser import Browser
from tests.console.running import add_job, running_console
from tests.waiting import PATIENCE_SECONDS


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_page_says_that_the_console_was_restarted(tmp_path: Path, chromium: Browser) -> None:
    add_job(tmp_path, "first")
    with running_console(tmp_path) as running:
        chromium.open(running.page("/jobs"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        chromium.call("Network.clearBrowserCookies")  # as if its token were another one now
        running.console.live.closing.set()  # ends the events
        for topic in running.console.live._topics.values():
            for follower in topic.followers:
                follower.set()
        chromium.until("document.getElementById('connection').textContent.includes('was restarted')")


def test_a_client_that_vanishes_is_no_follower_and_a_wrong_address_is_not_kept(tmp_path: Path) -> None:
    add_job(tmp_path, "first")
    with running_console(tmp_path) as running:
        live = running.console.live
        with running.client() as client:
            for _ in range(3):
                with client.stream("GET", "/events", params={"target": ["/jobs", "/jobs/first"]}) as events:
                    lines = events.iter_lines()  # closes the stream when it is dropped
                    next(lines)
                    until(lambda: live.followed == 2)
                until(lambda: live.followed == 0)
            client.get("/events", params={"target": "/nowhere"})
            client.head("/events", params={"target": "/jobs?words=nobody"})
        until(lambda: live.followed == 0)
        assert live.known == 2


def test_what_changed_while_a_page_was_asleep_comes_by_its_cursor() -> None:
    text = {"a": "1", "b": "1"}

    def make(_: str) -> Content:
        return Content("Page", [Fragment(name, Markup(value)) for name, value in text.items()])

    def problem(error: Exception, _: Seen) -> tuple[Content, int]:
        raise error

    async def check() -> None:
        live = LivePages(make, problem, lambda _: "lane")
        _, cursor = await live.page("/page")
        text["b"] = "2"
        stream = live.follow([("/page", cursor)])
        messages = [await anext(stream), await anext(stream)]
        assert messages[0].startswith("retry: ")
        assert '"changed": {"b": "2"}, "removed": []' in messages[1]
        asleep = messages[1].partition("id: ")[2].partition("\n")[0]
        await stream.aclose()  # type: ignore[attr-defined]
        text.pop("a")
        await live.page("/page")
        stream = live.follow([("/page", asleep), ("/page", "of-another-console")])
        messages = [await anext(stream) for _ in range(3)]
        assert '"page": 0' in messages[1]
        assert '"changed": {}, "removed": ["a"]' in messages[1]
        assert '"title": "Page"' in messages[2]
        assert '"b": "2"}' in messages[2]
        await stream.aclose()  # type: ignore[attr-defined]
        await live.close()

    asyncio.run(check())
