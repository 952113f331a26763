"""The result of a dataset check as text: problems by kind, with their number and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from breedclf.data_check.result import DatasetCheck, Kind, Problem, Range

SHOWN_PER_KIND = 5


class Meaning(NamedTuple):
    """The title of a kind of problem, and what to do about it."""

    title: str
    advice: str


MEANINGS: dict[Kind, Meaning] = {
    "unclear_layout": Meaning("ambiguous folder layout", "Arrange the folders as SPLIT/CLASS/ or as CLASS/."),
    "name_not_utf8": Meaning("class names that aren't UTF-8", "Rename the folder: a model can't store such a name."),
    "no_pictures": Meaning("no training images", "Put the images into one folder per class."),
    "one_class": Meaning("only one class", "Add the images of a second class."),
    "class_missing_in_train": Meaning("classes missing in train", "Add images of them to train/, or remove them."),
    "no_validation": Meaning("no validation images", "Add images to the classes, or to the validation split."),
    "no_path": Meaning("rows without path", "Fill it in, or remove the rows."),
    "not_a_path": Meaning(
        "paths that aren't those of files", "Download the files, and give paths relative to the table."
    ),
    "ambiguous_path": Meaning("paths that may mean several files", "Give the path with its folder and suffix."),
    "no_label": Meaning("rows without label", "Fill it in, or remove the rows."),
    "odd_label": Meaning("labels with control characters", "Is a quotation mark missing? Correct the labels."),
    "no_split": Meaning("rows without split", "Fill it in, remove the rows, or remove the column split."),
    "unknown_split": Meaning("unknown splits", "Use train, valid and test."),
    "two_labels": Meaning("images with two labels", "Keep the row with the correct label."),
    "two_splits": Meaning(
        "images in two splits", "Keep one of the rows: the other makes the measured accuracy too high."
    ),
    "two_groups": Meaning("images in two groups", "Keep the row with the correct group."),
    "missing_file": Meaning("files that don't exist", "Correct or remove the rows, or train with --on-bad-image skip."),
    "unreadable": Meaning("unreadable images", "Remove or replace them, or train with --on-bad-image skip."),
    "truncated": Meaning("truncated images", "Download them again, or train with --on-bad-image skip."),
    "damaged": Meaning("damaged but readable images", "Download them again; training uses them as they are."),
    "too_large": Meaning("images too large to decode", "Make them smaller, or train with --on-bad-image skip."),
    "blank": Meaning("blank images", "Remove or replace them; training uses them as they are."),
    "broken_profile": Meaning("invalid color profiles", "Save the images as sRGB; they are read as sRGB."),
    "empty_class": Meaning("classes without images", "Add images or remove the folder; the class is ignored."),
    "class_missing_in_split": Meaning("classes missing in a split", "Move some of their images to that split."),
    "shared_group": Meaning("groups in several splits", "Move all images of a group to one split."),
    "duplicate_across_splits": Meaning(
        "the same image in two splits", "Remove one of the two: it makes the measured accuracy too high."
    ),
    "duplicate_across_classes": Meaning(
        "the same image in two classes", "Keep the one in the correct class: a model can't learn both."
    ),
    "duplicate": Meaning("duplicate images", "Remove the copies: they count more than other images."),
    "repeated_row": Meaning("rows that repeat another", "Remove them; they are left out."),
    "mislabelled_type": Meaning(
        "suffixes that don't match the format", "Rename the files; breedclf reads them, other programs may not."
    ),
    "tiny": Meaning("tiny images", "Replace them with larger ones."),
    "imbalance": Meaning("imbalanced classes", "Add images of the rare classes; compare accuracy by class."),
    "case_conflict": Meaning(
        "names that differ only in case or accents", "Rename one of them: macOS and Windows treat them as the same."
    ),
    "overlooked": Meaning("images that training wouldn't find", "Save them as JPEG or PNG, with that suffix."),
    "stray_picture": Meaning("images outside the class folders", "Move them into a class folder: they aren't used."),
    "ignored_folder": Meaning("folders that aren't read", "Move them into a folder that is read, or remove them."),
    "not_a_file": Meaning("pipes, sockets and devices", "Remove them; they aren't read."),
    "broken_link": Meaning("broken links", "Fix or remove them."),
    "link_loop": Meaning("links that form a loop", "Remove them; they aren't followed."),
}


def as_text(result: DatasetCheck) -> str:
    """The whole result as text for a terminal."""
    groups = [_group(kind, list(found)) for kind, found in groupby(result.problems, lambda problem: problem.kind)]
    return "\n\n".join([*groups, "\n".join(_facts(result)), _verdict(result)])


def printable(name: str) -> str:
    """A name on one line, with control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def _group(kind: Kind, problems: Sequence[Problem]) -> str:
    title, advice = MEANINGS[kind]
    lines = [f"{title} ({kind}): {len(problems):,}", f"  {advice}"]
    lines += [f"    {printable(found.path)}: {printable(found.detail)}" for found in problems[:SHOWN_PER_KIND]]
    if len(problems) > SHOWN_PER_KIND:
        lines.append(f"    and {len(problems) - SHOWN_PER_KIND:,} more; --json lists all")
    return "\n".join(lines)


def _facts(about: DatasetCheck) -> list[str]:
    splits = ", ".join(f"{split} {count:,}" for split, count in about.splits.items())
    lines = [f"{about.images:,} images of {len(about.classes):,} classes ({splits}); {about.readable:,} are readable"]
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
        lines.append(f"  {turned:,} are rotated upright by their EXIF orientation, as in training")
    if about.animated:
        lines.append(f"  {about.animated:,} are animated; training uses their first frame")
    if about.converted:
        lines.append(f"  {about.converted:,} have colors far from sRGB; training converts them by their profile")
    return [*lines, *(f"  {printable(note)}" for note in about.notes)]


def _verdict(about: DatasetCheck) -> str:
    cached = f", {about.cached:,} of them cached" if about.cached else ""
    outcome = f"{len(about.problems):,} problems" if about.problems else "no problems"
    return f"{outcome} in {printable(about.folder)} ({about.images:,} images in {about.seconds:.1f} s{cached})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _range(values: Range) -> str:
    return f"{values.smallest:,} / {values.median:,} / {values.largest:,}"
