"""Profile a training run, write its report, and print the facts for a "Results" section from the report's data.

python examples/05_profile.py --data dogImages --weights resnet50.pth
python examples/05_profile.py --recorded profiler-output    # a recorded run: breedclf's, or SageMaker's output
python examples/05_profile.py                               # synthetic images, random weights, no download
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from breedclf import Finding, Profile, ProfilingSession, TrainingConfig
from breedclf.profiling.report.summary import aws_shares
from breedclf.testing.images import write_image_set


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    parser.add_argument("--recorded", type=Path, help="a recorded run to read instead of training")
    parser.add_argument("--output", type=Path, help="folder to keep the report in (default: a temporary folder)")
    arguments = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        output = arguments.output or Path(folder) / "profile"
        if arguments.recorded:
            session = ProfilingSession.attach(arguments.recorded)
        elif arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights, output=output)
            session = ProfilingSession(config).run()
        else:
            generated = write_image_set(Path(folder) / "images", train=8, valid=4, test=0)
            config = TrainingConfig(data=generated, architecture="resnet18", weights="none", output=output)
            session = ProfilingSession(config).run()
        session.save(output)
        for line in results(session.profile, session.findings):
            print(line)
        print(f"report: {output / 'report.html'}")


def results(profile: Profile, findings: list[Finding]) -> list[str]:
    """Each fact as one sentence."""
    started = datetime.fromtimestamp(profile.job.start, UTC)
    lines = [
        f"The job {profile.job.name} started at {started:%Y-%m-%d %H:%M:%S} UTC and ran {profile.job.seconds:,.0f} s."
    ]
    own = sum(operator.self_seconds for operator in profile.operators)
    for device in ("cpu", "gpu"):
        operators = [operator for operator in profile.operators if operator.device == device]
        if operators:
            share = sum(operator.self_seconds for operator in operators) / own
            lines.append(f"{share:.0%} of the traced time was spent in {device.upper()} operators, by their own time:")
            ranked = sorted(operators, key=lambda operator: -operator.self_seconds)
            lines += [f"  {operator.name} {operator.self_seconds / own:.0%}" for operator in ranked[:3]]
            counted = aws_shares(operators)
            most = max(counted, key=lambda name: counted[name])
            lines.append(f"  As SageMaker counts, including nested calls several times: {most}, {counted[most]:.0%}.")
    by_rule = {finding.rule: finding for finding in findings}
    for group in by_rule["StepOutlier"].details.get("groups", []):
        lines.append(
            f"StepOutlier, node {group['node']}, phase {group['phase']}: mean step {group['mean']:.2f} s, "
            f"standard deviation {group['stddev']:.2f} s, "
            f"{len(group['outliers'])} outliers above {group['threshold']:.2f} s."
        )
    lines.append(f"Dataloader: {by_rule['Dataloader'].evidence}. {by_rule['Dataloader'].advice}".strip())
    if not profile.job.uses_cuda:
        lines.append("Pinned memory would make no difference: the job used no GPU.")
    issues = [finding.rule for finding in findings if finding.status == "issue" and finding.rule != "ProfilerReport"]
    lines.append(f"Issues: {', '.join(issues) or 'none'}.")
    return lines


if __name__ == "__main__":
    main(*sys.argv[1:])
