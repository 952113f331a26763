"""One recorded run: the verdict, the timeline of its steps, and the sections of the report, also while it runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

from markupsafe import Markup

from breedclf.console import html
from breedclf.console.content import Content, Fragment, Links, Parameters
from breedclf.errors import ProfileError
from breedclf.overview.overview import Overview
from breedclf.overview.profiles import SUMMARY_RULE, ProfileView, ReadProfile, Verdict
from breedclf.profiling.report.page import headline, issue_text, render_report, report_sections, state_blocks, subtitle
from breedclf.reporting.blocks import bullets, callout, details, facts

_FIRST = "Timeline"


class ProfilePage:
    """`/profiles/{name}`"""

    path: ClassVar[str] = "/profiles/{name}"
    label: ClassVar[str] = ""

    def content(self, overview: Overview, parameters: Parameters, links: Links) -> Content:
        look = overview.profile(parameters["name"])
        found = look.found(ProfileError)
        sections = _sections(found)
        return Content(
            f"Profile of {found.view.title}",
            [
                Fragment("problem", html.problem(look)),
                Fragment("verdict", _verdict(found)),
                *sections[:1],
                Fragment("about", _about(found.view, links)),
                *sections[1:],
            ],
            subtitle(found.profile) if found.profile is not None else "",
        )

    def all(self, overview: Overview) -> Sequence[Parameters]:
        return [{"name": view.name} for view in overview.profiles().value or ()]


def whole_report(overview: Overview, name: str) -> str:
    """The report of a recorded run as one self-contained page.

    Raises:
        ProfileError: there is no such run, or it can't be read.
    """
    look = overview.profile(name)
    if look.value is None or look.value.profile is None:
        raise ProfileError(look.problem if look.value is None else look.value.verdict.evidence)
    return render_report(look.value.profile, look.value.findings, look.value.verification)


def verdict_block(verdict: Verdict) -> Markup:
    """The verdict, with what to change and what that measurably brings."""
    body: list[Markup | str] = [verdict.evidence] if verdict.evidence else []
    if verdict.advice:
        body.append(Markup("<p><strong>What to change:</strong> {}</p>").format(verdict.advice))
    if verdict.effect:
        body.append(Markup("<p><strong>Measured:</strong> {}</p>").format(verdict.effect))
    return callout(verdict.tone, verdict.heading, *body)


@lru_cache(maxsize=8)
def _verdict(found: ReadProfile) -> Markup:
    blocks: list[Markup] = [verdict_block(found.verdict)]
    profile = found.profile
    if profile is None:
        return Markup("").join(blocks)
    if found.view.is_active:
        text = "The page shows what was recorded until the time below, and grows with each epoch."
        blocks.insert(0, callout("info", "The job is running", text))
    else:
        blocks = [*state_blocks(profile), *blocks]
    issues = [each for each in found.findings if each.status == "issue" and each.rule != SUMMARY_RULE]
    if others := [each for each in issues if each.rule != found.verdict.heading]:
        more = "Other issues" if len(others) < len(issues) else "Issues"
        blocks.append(details(f"{more}: {', '.join(each.rule for each in others)}", bullets(map(issue_text, others))))
    return Markup("").join([*blocks, headline(profile, issues)])


def _about(view: ProfileView, links: Links) -> Markup:
    pairs: list[tuple[str, object]] = [("written", html.moment(view.changed)), ("files", str(view.folder))]
    if view.job:
        pairs.insert(0, ("job", html.link(links.to(f"/jobs/{view.job}"), view.job)))
    if links.is_live:
        report = html.link(links.to(f"/profiles/{view.name}/report"), "as one page")
        pairs.append(("full report", report))
    command = html.code(shlex.join(["breedclf", "profile", str(view.folder)]), label="The command that does the same")
    return Markup("<h2>Recording</h2>{}{}").format(facts(pairs), command)


@lru_cache(maxsize=8)
def _sections(found: ReadProfile) -> tuple[Fragment, ...]:
    """The report's sections, the timeline first; made once for each state of the files."""
    if found.profile is None:
        return ()
    sections = report_sections(found.profile, found.findings, found.verification)
    ordered = sorted(sections, key=lambda each: each.heading != _FIRST)
    return tuple(Fragment(f"part-{each.anchor}", html.section(each)) for each in ordered)
