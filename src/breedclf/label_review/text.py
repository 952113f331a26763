"""A review in words, for the command line and the HTML report."""

from __future__ import annotations

from breedclf.label_review.result import Review
from breedclf.text.counts import counted

_SHOWN = 20


def precision_text(review: Review) -> str:
    """How many of the suspects are expected to be wrong."""
    if review.refused:
        return f"Labels aren't reviewed: {review.refused}"
    if not review.suspects:
        return "No label is likely to be wrong."
    count = len(review.suspects)
    ranked = [first for first in review.precision_at if first <= 20]
    first = max(ranked, default=count)
    share = review.precision_at[first] if ranked else review.expected_precision
    assert share is not None
    which = f"the {first} suspects" if first == count else f"the first {first} of {count} suspects"
    count = round(first * share)
    return f"Of {which} about {count} {'has' if count == 1 else 'have'} a wrong label ({share:.0%})."


def effect_text(review: Review) -> str:
    """What near duplicates do to the test accuracy; empty if none are across splits with the test."""
    effect = review.twin_effect
    if effect is None:
        return ""
    twins = effect.count - effect.apart
    with_all = f"{effect.correct / effect.count:.1%} of {effect.count} test images are classified correctly"
    if not effect.apart:
        return f"{with_all}, and all of them have a near duplicate among the training or validation images."
    return (
        f"{with_all}, and {effect.apart_correct / effect.apart:.1%} of the {effect.apart} without a near duplicate "
        f"among the training and validation images ({twins} have one)."
    )


def as_text(review: Review) -> str:
    """A review as text."""
    lines = [precision_text(review)]
    for each in review.suspects[:_SHOWN]:
        lines.append(f"  {each.path}: {each.given} -> {each.proposed}, wrong with {each.probability_wrong:.0%}")
    if (more := len(review.suspects) - _SHOWN) > 0:
        lines.append(f"  and {more} more")
    if review.near_duplicates:
        across = sum(each.across_splits for each in review.near_duplicates)
        lines.append(
            f"{counted(len(review.near_duplicates), 'group')} of near duplicates, {across} of them across splits"
        )
        for near in review.near_duplicates[:_SHOWN]:
            mark = " (across splits)" if near.across_splits else ""
            lines.append(f"  {' = '.join(near.paths[:4])}: similarity {near.similarity:.3f}{mark}")
    if effect := effect_text(review):
        lines.append(effect)
    if review.outliers:
        lines.append(f"{counted(len(review.outliers), 'image')} unlike all others")
        lines += [f"  {each.path}: distance {each.distance:.3f}" for each in review.outliers[:_SHOWN]]
    if review.skipped:
        lines.append(f"{counted(len(review.skipped), 'image')} can't be read: {'; '.join(review.skipped[:3])}")
    return "\n".join(lines)
