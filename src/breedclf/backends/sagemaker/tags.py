"""Tags that mark the resources breedclf creates, and text that fits into a tag."""

from __future__ import annotations

import re

TAG = "breedclf"
PURPOSE_TAG = "breedclf-purpose"
OWNER_TAG = "breedclf-user"
_NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+\-@]+")
_MAX_TAG_CHARS = 256
_RANDOM_SESSION = re.compile(r"/(botocore-session-\d+|aws-cli-\S+|aws-sdk-\S+|\d{10,})$")


def tag_text(text: str) -> str:
    """Text without the characters that tags can't contain, cut to the maximum length.

    Example:
        >>> tag_text("it's 0.1, not 0.2 (why?)")
        'it s 0.1 not 0.2 why'
    """
    return " ".join(_NOT_IN_TAGS.sub(" ", text).split())[:_MAX_TAG_CHARS].rstrip()


def owner_tag_value(arn: str) -> str:
    """The caller's ARN as a tag value, without session names that differ each time.

    Example:
        >>> owner_tag_value("arn:aws:sts::111122223333:assumed-role/Team/botocore-session-1764446400")
        'arn:aws:sts::111122223333:assumed-role/Team'
    """
    return tag_text(_RANDOM_SESSION.sub("", arn))
