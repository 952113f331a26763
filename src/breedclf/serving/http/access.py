"""Who may ask: the Host header against foreign pages, the bearer token beyond this machine; pure functions."""

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
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, token: str | None, *, no_token: bool) -> None:
    """Refuse to serve beyond this machine to everyone, unless that is asked for.

    Raises:
        ConfigError: no token is given for an address that others reach, or it is too short.
    """
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(
            f"the token has {len(token)} characters; give at least {MIN_TOKEN_CHARS}, for instance from "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`"
        )
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError("the token holds a character that a header can't carry; use printable ASCII without spaces")
    if token is None and not no_token and not is_loopback(host):
        raise ConfigError(
            f"host {host} can be reached from other machines: give a token (--token, or BREEDCLF_TOKEN), "
            "or --no-token where something in front checks who asks"
        )


def check_origins(origins: Collection[str]) -> None:
    """See that each is what browsers send as Origin: a scheme, a host and perhaps a port; or `*` for every page.

    Raises:
        ConfigError: one isn't.
    """
    for origin in origins:
        if origin != ANY_HOST and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"--allow-origin {origin!r} is no origin: give it as https://example.org or http://localhost:3000, "
                "without a path, or * for every web page"
            )


def allowed_hosts(host: str, extra: Collection[str] = ()) -> frozenset[str]:
    """The names by which a server may be called.

    On loopback only local names: a foreign page whose name points here must not reach the server through a browser.
    Beyond, the server is known by names that it can't know, and the token keeps others out.
    """
    if extra:
        return frozenset(name.lower() for name in extra) | LOCAL_NAMES
    if is_loopback(host):
        return LOCAL_NAMES | {host}
    return frozenset({ANY_HOST})


def host_is_allowed(header: str | None, allowed: Collection[str]) -> bool:
    """Whether a request's Host header, with or without a port, names this server."""
    if ANY_HOST in allowed:
        return True
    name, colon, port = (header or "").strip().lower().rpartition(":")
    if not colon or not port.isdigit():
        name = (header or "").strip().lower()
    return name in allowed


def token_is_right(header: str | None, token: str) -> bool:
    """Compare an Authorization header with `Bearer TOKEN`, in a time that tells nothing about the token."""
    scheme, _, given = (header or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return same and scheme.lower() == "bearer"
