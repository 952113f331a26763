"""Access control as pure functions: Host headers against DNS rebinding, bearer tokens for remote access."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection

from breedclf.errors import ConfigError

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_HOST = "*"
MIN_TOKEN_CHARS = 16
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")


def is_loopback(host: str) -> bool:
    """Whether an address is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, token: str | None, *, no_token: bool) -> None:
    """Refuse to serve other machines without a token, unless that is explicitly allowed.

    Raises:
        ConfigError: a token is required but missing, or the token is too short or has invalid characters.
    """
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(
            f"the token has {len(token)} characters; at least {MIN_TOKEN_CHARS} are required, for instance from "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`"
        )
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(
            "the token has characters that aren't allowed in a header; use printable ASCII without spaces"
        )
    if token is None and not no_token and not is_loopback(host):
        raise ConfigError(
            f"host {host} is reachable from other machines: set a token (--token, or BREEDCLF_TOKEN), "
            "or use --no-token if a proxy controls access"
        )


def check_origins(origins: Collection[str]) -> None:
    """Check that each is a valid Origin (scheme, host and optionally port), or `*` for all origins.

    Raises:
        ConfigError: one is invalid.
    """
    for origin in origins:
        if origin != ANY_HOST and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"--allow-origin {origin!r} is not an origin: write it as https://example.org or "
                "http://localhost:3000, without a path, or * for all origins"
            )


def allowed_hosts(host: str, extra: Collection[str] = ()) -> frozenset[str]:
    """The host names that requests may use.

    On loopback, only local names are allowed, against DNS rebinding: a foreign web page must not reach the server
    through a browser. On other addresses, the server can't know its names, and the token restricts access.
    """
    if extra:
        return frozenset(name.lower() for name in extra) | LOCAL_NAMES
    if is_loopback(host):
        return LOCAL_NAMES | {host}
    return frozenset({ANY_HOST})


def host_is_allowed(header: str | None, allowed: Collection[str]) -> bool:
    """Whether a request's Host header, with or without a port, is allowed."""
    if ANY_HOST in allowed:
        return True
    name, colon, port = (header or "").strip().lower().rpartition(":")
    if not colon or not port.isdigit():
        name = (header or "").strip().lower()
    return name in allowed


def token_is_valid(header: str | None, token: str) -> bool:
    """Compare an Authorization header with `Bearer TOKEN` in constant time."""
    scheme, _, received = (header or "").partition(" ")
    same = hmac.compare_digest(received.strip().encode(), token.encode())
    return same and scheme.lower() == "bearer"
