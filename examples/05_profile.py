"""Profile a training, write its report, and print what a "Results" section needs, from the report's data alone.

python examples/05_profile.py dogImages
python examples/05_profile.py profiler-output     # a recorded run: ours, or the folder SageMaker left
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from breedclf import ProfilingSession, TrainingConfig
from breedclf.profiling.profile import Profile
from breedclf.profiling.rules import Finding
from breedclf.profiling.sources import find_profile


def main(what: str = "dogImages", weights: str = "IMAGENET1K_V1", output: str = "runs/profile") -> None:
    if find_profile(what):
        session = ProfilingSession.attach(what)
    else:
        session = ProfilingSession(TrainingConfig(data=what, weights=weights, output=output)).run()
    session.save(output)
    for line in results(session.profile, session.findings):
        print(line)
    print(f"report: {output}/report.html")


def results(profile: Profile, findings: list[Finding]) -> list[str]:
    """Each fact as a sentence."""
    began = datetime.fromtimestamp(profile.job.start, UTC)
    lines = [
        f"The job {profile.job.name} started at {began:%Y-%m-%d %H:%M:%S} UTC and ran {profile.job.seconds:,.0f} s."
    ]
    own = sum(operator.self_seconds for operator in profile.operators)
    for device in ("cpu", "gpu"):
        operators = [operator for operator in profile.operators if operator.device == device]
        if operators:
            top = max(operators, key=lambda operator: operator.self_seconds)
            share = sum(operator.self_seconds for operator in operators) / own
            lines.append(
                f"{share:.0%} of the traced time went into {device.upper()} operators; the most expensive by its "
                f"own time "
                f"was {top.name}, {top.self_seconds / own:.0%}."
            )
    by_rule = {finding.rule: finding for finding in findings}
    for group in by_rule["StepOutlier"].details.get("groups", []):
        lines.append(
            f"StepOutlier, node {group['node']}, phase {group['phase']}: mean step {group['mean']:.2f} s, "
            f"standard deviation "
            f"{group['stddev']:.2f} s, {len(group['outliers'])} outliers above {group['threshold']:.2f} s."
        )
    lines.append(f"Dataloader: {by_rule['Dataloader'].evidence}. {by_rule['Dataloader'].advice}".strip())
    issues = [finding.rule for finding in findings if finding.status == "issue" and finding.rule != "ProfilerReport"]
    lines.append(f"Issues: {', '.join(issues) or 'none'}.")
    return lines


if __name__ == "__main__":
    main(*sys.argv[1:])
