"""An examination in words: problems by kind, how many, what each means, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from breedclf.data_check.result import DatasetCheck, Kind, Problem, Range

SHOWN_A_KIND = 5


class Meaning(NamedTuple):
    """What a kind of problem is called, and what to do about it."""

    title: str
    advice: str


MEANINGS: dict[Kind, Meaning] = {
    "unclear_layout": Meaning("folders that may mean two things", "Rearrange them as SPLIT/CLASS/ or as CLASS/."),
    "name_not_utf8": Meaning("class names that are no text", "Rename the folder: no model can keep such a name."),
    "no_pictures": Meaning("nothing to train on", "Put the pictures into one folder a class."),
    "one_class": Meaning("one class only", "Add the pictures of a second class."),
    "class_missing_in_train": Meaning("classes that train lacks", "Add pictures of them to train/, or remove them."),
    "no_validation": Meaning("nothing to validate on", "Add a picture to some classes, or to the validation split."),
    "unreadable": Meaning("pictures that can't be read", "Remove or replace them, or train with --on-bad-image skip."),
    "truncated": Meaning("pictures cut short", "Fetch them again or remove them; --on-bad-image skip leaves them out."),
    "damaged": Meaning("pictures that are damaged but readable", "Fetch them again; a training uses them as they are."),
    "too_large": Meaning("pictures too large to decode", "Save them smaller, or train with --on-bad-image skip."),
    "blank": Meaning("pictures that show nothing", "Remove or replace them; a training uses them as they are."),
    "broken_profile": Meaning("color profiles that can't be used", "Save them as sRGB; they are read as sRGB."),
    "empty_class": Meaning("classes without pictures", "Fill or remove the folder; until then there is no such class."),
    "class_missing_in_split": Meaning("classes that a split lacks", "Move some of their pictures there."),
    "duplicate_across_splits": Meaning(
        "the same picture in two splits", "Remove one of the two: accuracy measured on it is flattering."
    ),
    "duplicate_across_classes": Meaning(
        "the same picture in two classes", "Keep the one in the right class: a model can't learn both."
    ),
    "duplicate": Meaning("the same picture twice", "Remove the copies: they count more than other pictures."),
    "mislabelled_type": Meaning("names that tell another format", "Rename them; breedclf reads them, others may not."),
    "tiny": Meaning("tiny pictures", "Replace them with larger ones."),
    "imbalance": Meaning("classes of very different size", "Add pictures of the rare ones; look at accuracy by class."),
    "case_conflict": Meaning("names alike but for case or accents", "Rename one: macOS and Windows take them for one."),
    "overlooked": Meaning("pictures that no training would find", "Save them as JPEG or PNG, with that suffix."),
    "stray_picture": Meaning("pictures outside the class folders", "Move them into a class folder: they aren't used."),
    "ignored_folder": Meaning("folders that aren't read", "Put them into a folder that is read, or elsewhere."),
    "not_a_file": Meaning("pipes, sockets and devices", "Remove them; nothing is read from them."),
    "broken_link": Meaning("links that lead nowhere", "Mend or remove them."),
    "link_loop": Meaning("links that lead back", "Remove them; they are not followed."),
}


def as_text(examination: DatasetCheck) -> str:
    """The whole examination for a terminal."""
    groups = [_group(kind, list(found)) for kind, found in groupby(examination.problems, lambda found: found.kind)]
    return "\n\n".join([*groups, "\n".join(_facts(examination)), _verdict(examination)])


def printable(name: str) -> str:
    """A name on one line: control characters and bytes that aren't text are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def _group(kind: Kind, problems: Sequence[Problem]) -> str:
    title, advice = MEANINGS[kind]
    lines = [f"{title} ({kind}): {len(problems):,}", f"  {advice}"]
    lines += [f"    {printable(found.path)}: {printable(found.detail)}" for found in problems[:SHOWN_A_KIND]]
    if len(problems) > SHOWN_A_KIND:
        lines.append(f"    and {len(problems) - SHOWN_A_KIND:,} more; --json lists all")
    return "\n".join(lines)


def _facts(about: DatasetCheck) -> list[str]:
    splits = ", ".join(f"{split} {count:,}" for split, count in about.splits.items())
    lines = [
        f"{about.pictures:,} pictures of {len(about.classes):,} classes ({splits}); {about.readable:,} can be read"
    ]
    if about.width_px and about.height_px and about.file_bytes:
        lines += [
            f"  formats  {_counts(about.formats)}",
            f"  modes    {_counts(about.modes)}",
            "  smallest / median / largest",
            f"  width    {_range(about.width_px)} px",
            f"  height   {_range(about.height_px)} px",
            f"  file     {_range(about.file_bytes)} bytes",
        ]
    if turned := sum(count for value, count in about.orientations.items() if value != "1"):
        lines.append(f"  {turned:,} are turned upright by their EXIF block, as a training does")
    if about.animated:
        lines.append(f"  {about.animated:,} are animated; a training takes their first frame")
    if about.converted:
        lines.append(f"  {about.converted:,} have colors far from sRGB; a training converts them by their profile")
    return [*lines, *(f"  {printable(note)}" for note in about.notes)]


def _verdict(about: DatasetCheck) -> str:
    known = f", {about.remembered:,} of them known from before" if about.remembered else ""
    outcome = f"{len(about.problems):,} problems" if about.problems else "no problems"
    return f"{outcome} in {printable(about.folder)} ({about.pictures:,} pictures in {about.seconds:.1f} s{known})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _range(values: Range) -> str:
    return f"{values.smallest:,} / {values.median:,} / {values.largest:,}"
