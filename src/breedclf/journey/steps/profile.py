"""Profile the best settings, and measure whether the advice helps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from breedclf.api.profiling import ProfilingSession
from breedclf.journey.figures import profile_figures
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import best_training


class Profile(Step):
    """Train the best settings once more with a full recording."""

    name = "profile"
    title = "Debug and profile"
    files = ("profile/profile.json", "profile/report.html")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"verify": context.settings.verify}

    def run(self, context: JourneyContext) -> Outcome:
        folder = context.folder / "profile"
        session = ProfilingSession(best_training(context).replace(output=folder), backend=context.backend).run()
        if context.settings.verify:
            session.verify()
        session.save(folder)
        issues = [finding.rule for finding in session.findings if finding.status == "issue"]
        verified = session.verification
        found = f"Rules with an issue: {', '.join(issues)}" if issues else "No rule found an issue"
        return Outcome(
            headline=f"{found}. {verified.sentence if verified else ''}".strip(),
            values={
                "issues": issues,
                "recommended": verified.recommended if verified else {},
                "figures": profile_figures(session),
            },
            figures=(Figure(label="Issues", value=str(len(issues)), note=", ".join(issues)),),
            report=context.shown(folder / "report.html"),
        )

    def alone(self, context: JourneyContext) -> Alone:
        data = str(context.settings.data)
        verify = " --verify" if context.settings.verify else ""
        return Alone("ProfilingSession(best.config).run().verify()", f"breedclf profile {shlex.quote(data)}{verify}")
