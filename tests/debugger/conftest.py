"""Tests of smdebug itself: skipped where it can't work, which is everywhere but in its own environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf.profiling.debugger.requirements import problems

HERE = Path(__file__).parent
# An old copy of six that comes with smdebug; Python says so at imports from then on.
OLD_SIX = "ignore:_SixMetaPathImporter:ImportWarning"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """smdebug looks for late files a second after a trial's end; here there are none."""
    monkeypatch.setenv("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = problems()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(OLD_SIX))
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"make test-debugger runs these: {missing[0]}"))
