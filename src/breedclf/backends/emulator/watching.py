"""Threads that drive what is stored, such as tuning jobs, until it has ended or the emulator closes."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

POLL_SECONDS = 0.2

log: logging.Logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Watching(ABC):
    """Drives each of some stored things in a thread; `what` is their kind, for messages."""

    what: ClassVar[str]
    _closing: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, name: str) -> None:
        """Drive one in the background."""
        thread = threading.Thread(target=self._drive, args=(name,), name=f"{self.what} {name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def close(self) -> None:
        """Stop watching; another emulator finds what has not ended."""
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _drive(self, name: str) -> None:
        try:
            while not self._closing.is_set() and self._advance(name):
                self._closing.wait(POLL_SECONDS)
        except Exception as error:
            log.exception("%s %s can't continue", self.what, name)
            self._fail(name, f"InternalServerError: {type(error).__name__}: {error}")

    @abstractmethod
    def _advance(self, name: str) -> bool:
        """Do what is due; False once it has ended."""

    @abstractmethod
    def _fail(self, name: str, reason: str) -> None:
        """Store that it failed."""
