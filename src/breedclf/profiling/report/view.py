"""What a notebook shows of a profiled run: each issue with its advice, headline figures, and every rule."""

from __future__ import annotations

from collections.abc import Sequence

from breedclf.profiling.profile import Profile
from breedclf.profiling.report.page import summary_blocks
from breedclf.profiling.rules import Finding
from breedclf.profiling.verified import Verification
from breedclf.reporting.blocks import details, table
from breedclf.reporting.notebook import notebook_view


def profile_view(profile: Profile, findings: Sequence[Finding], verification: Verification | None) -> str:
    """The HTML of a `ProfilingSession` that has run."""
    rows = [(finding.rule, finding.status.replace("_", " "), finding.evidence) for finding in findings]
    return notebook_view(
        f"Profile of {profile.job.name}",
        *summary_blocks(profile, findings, verification),
        details("All rules", table("", ["rule", "status", "found"], rows)),
    )
