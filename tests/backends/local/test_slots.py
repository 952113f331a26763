"""Slots for cores and GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from breedclf.backends.local.slots import SlotPool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the local backend needs POSIX processes")


def test_a_slot_is_taken_until_the_job_ends(tmp_path: Path) -> None:
    pool = SlotPool(tmp_path, cores=1, gpus=())
    slots = pool.take(pool.queue("first"), 1, 0)
    assert slots is not None and slots.cores == ("0",)
    job = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=slots.descriptors)
    with job:
        slots.release()  # like a killed supervisor
        ticket = pool.queue("second")
        assert pool.take(ticket, 1, 0) is None
        job.kill()
        job.wait(30)
        taken = pool.take(ticket, 1, 0)
    assert taken is not None
    taken.release()


def test_tickets_are_served_in_order_and_those_of_dead_processes_are_skipped(tmp_path: Path) -> None:
    pool = SlotPool(tmp_path, cores=2, gpus=())
    held = pool.take(pool.queue("held"), 1, 0)
    big, small = pool.queue("big"), pool.queue("small")
    assert held is not None
    assert pool.take(big, 2, 0) is None
    assert pool.take(small, 1, 0) is None, "a small job must not overtake a big one for ever"
    big.give_up()
    taken = pool.take(small, 1, 0)
    assert taken is not None and taken.cores == ("1",)
    held.release()
    taken.release()
