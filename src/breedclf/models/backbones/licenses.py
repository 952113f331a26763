"""The licenses of published weights: how they are named, where their text is, and which of them bind."""

from __future__ import annotations

_PERMISSIVE = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc0-1.0": "CC0-1.0",
    "isc": "ISC",
    "unlicense": "Unlicense",
}
"""Licenses that allow any use, also commercial, of the weights and of what is trained from them, and their SPDX names.
Some of them ask for attribution."""

_OTHER_NAMES = {"cc-by-nc-4.0": "CC-BY-NC-4.0", "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0"}

_TEXTS = {
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "cc-by-nc-sa-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "dinov3-license": "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    "fair-noncommercial-research-license": "https://huggingface.co/facebook/fair-noncommercial-research-license",
}

NOT_STATED = "not stated"


def license_name(recorded: str | None) -> str:
    """The SPDX name of a license, if it has one; `not stated` if none is recorded.

    Example:
        >>> license_name("apache-2.0"), license_name("dinov3-license"), license_name(None)
        ('Apache-2.0', 'dinov3-license', 'not stated')
    """
    key = _key(recorded)
    if not key:
        return NOT_STATED
    return _PERMISSIVE.get(key) or _OTHER_NAMES.get(key) or key


def license_binds(recorded: str | None) -> bool:
    """Whether a license restricts the use of the weights, or isn't known to allow any use.

    A license that isn't stated can't be accepted, so it doesn't bind.

    Example:
        >>> license_binds("cc-by-nc-4.0"), license_binds("MIT"), license_binds("some-license"), license_binds(None)
        (True, False, True, False)
    """
    key = _key(recorded)
    return bool(key) and key not in _PERMISSIVE


def license_text(recorded: str | None, page: str) -> str:
    """The URL of a license's text, or of the `page` that names the license of the weights."""
    return _TEXTS.get(_key(recorded), page)


def _key(recorded: str | None) -> str:
    key = (recorded or "").strip().lower()
    return "" if key in ("unknown", "other", "none") else key
