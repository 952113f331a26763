"""Several tabs of one browser: all are up to date, and the console has one connection for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from breedclf.console.live import LivePages
from breedclf.jobs import JobStatus
from tests.browser import Browser
from tests.console.running import add_job, running_console
from tests.waiting import until

TABS = 8  # a browser opens six connections to a host
MOST_CONNECTIONS = 2  # a new one is opened before the end of the old one is noticed


class Connections:
    """Counts the streams of events that are open, and the most that were open at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def counting(
        self, follow: Callable[[LivePages, Sequence[tuple[str, str]]], AsyncIterator[str]]
    ) -> Callable[[LivePages, Sequence[tuple[str, str]]], AsyncIterator[str]]:
        """The function, counted."""

        async def counted(live: LivePages, pages: Sequence[tuple[str, str]]) -> AsyncIterator[str]:
            stream = follow(live, pages)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                async for event in stream:
                    yield event
            finally:
                self.now -= 1
                await stream.aclose()  # type: ignore[attr-defined]

        return counted


def test_many_tabs_share_a_connection_and_closed_ones_are_forgotten(
    tmp_path: Path, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections()
    monkeypatch.setattr(LivePages, "follow", connections.counting(LivePages.follow))
    jobs = [add_job(tmp_path, f"dogs-{number}", status=JobStatus.IN_PROGRESS, log="first\n") for number in range(TABS)]
    with running_console(tmp_path) as running:
        live = running.console.live
        chromium.open(running.page("/jobs"))  # takes the cookie
        chromium.open("about:blank")
        tabs = [chromium.new_tab() for _ in jobs]
        for number, tab in enumerate(tabs):
            tab.open(f"{running.url}/jobs/dogs-{number}")
        for tab in tabs:
            tab.until("document.getElementById('connection').textContent === 'live'")
        until(lambda: live.followed == TABS)
        for number, job in enumerate(jobs):
            with job.log_file.open("a", encoding="utf-8") as log:
                log.write(f"news of {number}\n")
        for number, tab in enumerate(tabs):
            tab.until(f"document.getElementById('log').textContent.includes('news of {number}')")
        assert connections.most <= MOST_CONNECTIONS
        for tab in tabs[2:]:
            tab.close()
        until(lambda: live.followed == 2 and connections.now == 1)
        add_job(tmp_path, "another")
        with jobs[0].log_file.open("a", encoding="utf-8") as log:
            log.write("the last\n")
        tabs[0].until("document.getElementById('log').textContent.includes('the last')")
        assert [line for tab in tabs[:2] for line in tab.messages if not line.startswith(f"asked {running.url}/")] == []
        for tab in tabs[:2]:
            tab.close()
        until(lambda: live.followed == 0 and connections.now == 0)
        assert connections.most <= MOST_CONNECTIONS
