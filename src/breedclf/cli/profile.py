"""`breedclf profile DIR|JOB|PROFILE_DIR` and `profile diff A B`: where training time goes, and what to change."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from breedclf.api.profiling import ProfilingSession
from breedclf.backends.registry import backend_named, backend_names
from breedclf.cli.flags import add_settings_flags, training_config
from breedclf.cli.terminal import Terminal
from breedclf.config import TrainingConfig, nearest
from breedclf.config.groups import TRAINING_GROUPS
from breedclf.data.tables.places import is_table
from breedclf.errors import ConfigError
from breedclf.files.paths import path_argument, path_or_uri_argument, user_path
from breedclf.files.s3_uri import is_s3
from breedclf.profiling.report.diff import as_text, compare
from breedclf.profiling.reported import step_statistics
from breedclf.profiling.rules import ALL_RULES, Finding, choose_rules
from breedclf.profiling.sources import find_profile, open_profile
from breedclf.profiling.verified import check_repeats

DEFAULT_OUTPUT = Path("runs/profile")
_MARKS = {"issue": "!!", "ok": "ok", "no_data": "--", "not_applicable": "  "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s DIR|TABLE|JOB|PROFILE_DIR ... [OPTION ...]"
    parser.add_argument(
        "what",
        metavar="DIR|TABLE|JOB|PROFILE_DIR",
        nargs="+",
        type=path_or_uri_argument,
        help="image folder, table, job, or recorded run (also s3://...); or: diff A B",
    )
    parser.add_argument("--config", type=path_argument, metavar="FILE", help="settings from a YAML, TOML or JSON file")
    parser.add_argument(
        "--backend", metavar="|".join(backend_names()), help="where JOB ran, or where to train (default: this process)"
    )
    checks = parser.add_argument_group("rules")
    checks.add_argument(
        "--rules",
        metavar="RULE[:PARAMETER=VALUE,...]",
        nargs="+",
        default=[],
        help="check only these rules, optionally with other parameters",
    )
    checks.add_argument("--stop-on", metavar="RULE", nargs="+", default=[], help="stop training if one finds an issue")
    verify = parser.add_argument_group("verification")
    verify.add_argument("--verify", action="store_true", help="try the advice and recommend what is measurably faster")
    verify.add_argument("--repeats", type=int, default=5, metavar="N", help="runs per change (default: 5)")
    verify.add_argument(
        "--also",
        metavar="SETTING=VALUE",
        nargs="+",
        default=[],
        help="other changes for --verify to try, one at a time: compile_network=yes",
    )
    add_settings_flags(parser, TrainingConfig, TRAINING_GROUPS, leave_out=["data", "profile", "resume"])


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.what[0] == "diff":
        return _diff(arguments.what[1:], terminal)
    if len(arguments.what) > 1:
        raise ConfigError(f"one run at a time, not {len(arguments.what)}; to compare two: breedclf profile diff A B")
    also = _changes(arguments.also)
    if arguments.verify:
        check_repeats(arguments.repeats)
    session, output = _session(arguments, arguments.what[0], also)
    if arguments.verify:
        session.verify(repeats=arguments.repeats, also=also)
    session.save(output)
    findings = session.findings
    verified = session.verification
    document: dict[str, Any] = {
        "findings": [finding.model_dump(mode="json", exclude={"details"}) for finding in findings],
        "steps": _steps(findings),
        "verified": [trial.model_dump(mode="json") for trial in verified.trials] if verified else [],
        "recommended": verified.recommended if verified else {},
        "report": str(output / "report.html"),
        "profile": str(output / "profile.json"),
        "trace": str(output / "trace.json"),
    }
    text = "\n".join(_line(finding) for finding in findings)
    if verified:
        text += f"\nverified: {verified.sentence}"
    terminal.result(document, f"{text}\nreport: {output / 'report.html'}")
    return 0


def _steps(findings: list[Finding]) -> list[dict[str, Any]]:
    """The numbers of StepOutlier, one row per node and phase."""
    return [
        {
            "node": each.node,
            "phase": each.phase,
            "steps": each.steps,
            "mean_seconds": each.mean,
            "standard_deviation_seconds": each.stddev,
            "outliers": each.outliers,
        }
        for finding in findings
        if finding.rule == "StepOutlier"
        for each in step_statistics(finding.details)
    ]


def _session(arguments: argparse.Namespace, what: str, also: list[dict[str, str]]) -> tuple[ProfilingSession, Path]:
    rules = _rules(arguments.rules)
    given_output = getattr(arguments, "output", None)
    output = DEFAULT_OUTPUT if given_output is None else user_path(given_output, "output")
    backend = None if arguments.backend is None else backend_named(arguments.backend)
    if is_s3(what):
        return ProfilingSession.attach(what, rules=rules), output
    if find_profile(what) is not None:
        return ProfilingSession.attach(Path(what), rules=rules), output
    if Path(what).is_dir() and not any(Path(what).iterdir()):
        open_profile(what)  # raises an error that lists what is accepted
    if Path(what).is_dir() or is_table(Path(what)):
        config = training_config(arguments, data=what, output=output)
        for change in also if arguments.verify else ():
            config.replace(**change)  # refuse a wrong one before anything runs
        session = ProfilingSession(config, rules=rules, backend=backend, stop_on=tuple(arguments.stop_on))
        return session.run(), output
    if backend is None and (Path(what).exists() or os.sep in what):  # not a job's name
        open_profile(what)  # raises the reason
    return ProfilingSession.attach(what, rules=rules, backend=backend or "local"), output


def _rules(words: list[str]) -> Any:
    """`StepOutlier:stddev=2` as a rule with that parameter; None if no rule is named."""
    if not words:
        return None
    chosen = []
    for word in words:
        name, _, pairs = word.partition(":")
        if name == "ProfilerReport":
            continue
        if name not in ALL_RULES:
            raise ConfigError(f"unknown rule {name!r}: {nearest(name, [*ALL_RULES, 'ProfilerReport'])}")
        changes = dict(_pair(name, pair) for pair in pairs.split(",") if pair)
        chosen.append(choose_rules([name])[0].with_parameters(changes))
    return chosen


def _pair(rule: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"rule {rule}: {text!r} is not PARAMETER=VALUE")
    return name, value


def _changes(words: list[str]) -> list[dict[str, str]]:
    changes = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--also {word!r} is not SETTING=VALUE")
        changes.append({name.replace("-", "_"): value})
    return changes


def _diff(places: list[str], terminal: Terminal) -> int:
    if len(places) != 2:
        raise ConfigError(f"breedclf profile diff takes two recorded runs, not {len(places)}")
    before, after = (ProfilingSession.attach(place).profile for place in places)
    difference = compare(before, after)
    document = difference.model_dump(mode="json")
    for change, values in zip(difference.changes, document["changes"], strict=True):
        values["ratio"] = change.ratio
    terminal.result(document, as_text(difference))
    return 0


def _line(finding: Finding) -> str:
    advice = f"\n     {finding.advice}" if finding.status == "issue" and finding.advice else ""
    return f"{_MARKS[finding.status]}  {finding.rule}: {finding.evidence}{advice}"
