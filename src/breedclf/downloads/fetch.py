"""One file from the web: goes on after an interruption, and is whole and what it should be, or is refused."""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from breedclf._version import __version__
from breedclf.downloads.catalogue import Archive
from breedclf.errors import DownloadError

log: logging.Logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30
MAX_TRIES = 4
_PASSING_STATES = frozenset({408, 425, 429, 500, 502, 503, 504})
_ARCHIVE_STARTS = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")

OpenUrl = Callable[..., Any]


@dataclass(frozen=True)
class Web:
    """How the web is reached; `open_url` has urllib's shape: (request, timeout) to an answer that is read."""

    open_url: OpenUrl = urllib.request.urlopen
    pause: Callable[[float], None] = time.sleep


class _PassingError(Exception):
    """The connection failed or ended early: worth another try."""


def fetch(archive: Archive, folder: Path, web: Web | None = None, *, quiet: bool = False) -> Path:
    """Fetch a file into `folder`, or take the one that lies there, and check its size and sum.

    What an interrupted attempt left is completed, if the server still has the same file. Each place is tried up to
    MAX_TRIES times in a row without progress, with growing pauses.

    Raises:
        DownloadError: no place can be reached or has the file, or it isn't the published one.
    """
    target = folder / archive.name
    if target.exists():
        _check(target, archive, f"{target} (delete it to fetch it anew)")
        return target
    part = folder / f"{archive.name}.part"
    if not _is_whole(part, archive):
        url = _fetch_from_any(part, target, archive, web or Web(), quiet=quiet)
        try:
            _check(part, archive, url)
        except DownloadError:
            _forget(part)
            raise
    part.replace(target)
    _forget(part)
    return target


def _is_whole(part: Path, archive: Archive) -> bool:
    """Whether an earlier run had just finished; a part that is too long or wrong is given up."""
    if _size(part) < archive.size_bytes:
        return False
    try:
        _check(part, archive, part.name)
    except DownloadError as error:
        log.info("%s; fetching it anew", error)
        _forget(part)
        return False
    return True


def _fetch_from_any(part: Path, target: Path, archive: Archive, web: Web, *, quiet: bool) -> str:
    """Fetch from the first place that has the file, and say which."""
    refusals = []
    for url in archive.urls:
        try:
            _fetch_from(url, part, archive, web, quiet=quiet)
        except DownloadError as error:
            refusals.append(str(error))
        else:
            return url
    raise DownloadError(
        "\n".join(refusals) + f"\nCheck the network and the proxy settings, or fetch {archive.urls[0]} elsewhere, "
        f"put it at {target} and run the command again"
    )


def _fetch_from(url: str, part: Path, archive: Archive, web: Web, *, quiet: bool) -> None:
    tries, furthest = 0, _size(part)
    with tqdm(
        total=archive.size_bytes,
        desc=archive.name,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=True if quiet else None,
    ) as bar:
        while True:
            try:
                _go_on(url, part, archive, web, bar)
                return
            except _PassingError as error:
                tries = 1 if _size(part) > furthest else tries + 1
                furthest = max(furthest, _size(part))
                if tries >= MAX_TRIES:
                    raise DownloadError(f"{url} can't be fetched: {error}") from error
                log.info("%s: %s; trying again", archive.name, error)
                web.pause(2 ** (tries - 1))


def _go_on(url: str, part: Path, archive: Archive, web: Web, bar: Any) -> None:
    """One request, for what is still missing."""
    version = _version_of(part)
    have = _size(part) if version else 0
    headers = {"User-Agent": f"breedclf/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(url, headers=headers)
    with _failures_told(url, part), web.open_url(request, timeout=TIMEOUT_SECONDS) as answer:
        start = have if answer.status == 206 else 0
        if answer.status == 206 and _range_start(answer) != have:
            _forget(part)
            raise _PassingError("the server sent another part of the file than the one asked for")
        _refuse_another_file(url, answer, start, archive)
        chunk = answer.read(CHUNK_BYTES)
        if not start and chunk and not is_archive(chunk):
            raise DownloadError(f"{url} sent {_described(chunk)}, not an archive; is there a login page or a proxy?")
        bar.reset(archive.size_bytes)
        bar.update(start)
        if not start:  # only now is what an earlier run left given up
            _remember_version(part, answer)
        with part.open("ab" if start else "wb") as file:
            _copy(url, chunk, answer, file, start, archive, bar)


def _copy(url: str, chunk: bytes, answer: Any, file: Any, have: int, archive: Archive, bar: Any) -> None:
    while chunk:
        have += len(chunk)
        if have > archive.size_bytes:
            raise DownloadError(f"{url} sends more than the published {archive.size_bytes:,} bytes")
        file.write(chunk)
        bar.update(len(chunk))
        chunk = answer.read(CHUNK_BYTES)
    if have < archive.size_bytes:
        raise _PassingError(f"the connection ended after {have:,} of {archive.size_bytes:,} bytes")


def is_archive(start: bytes) -> bool:
    """Whether a file begins as a zip, a compressed or a plain tar archive does."""
    return start.startswith(_ARCHIVE_STARTS) or start[257:262] == b"ustar"


def _refuse_another_file(url: str, answer: Any, start: int, archive: Archive) -> None:
    kind = (answer.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise DownloadError(
            f"{url} sent a web page{_title(answer.read(65_536))}, not an archive; is there a login page or a proxy?"
        )
    length = answer.headers.get("Content-Length")
    if length is not None and length.isdigit() and start + int(length) != archive.size_bytes:
        raise DownloadError(
            f"{url} has {start + int(length):,} bytes now, where {archive.size_bytes:,} were published: "
            "it is another file than the one known here"
        )


def _check(file: Path, archive: Archive, name: str) -> None:
    if (size := _size(file)) != archive.size_bytes:
        raise DownloadError(f"{name}: {size:,} bytes, where {archive.size_bytes:,} were published")
    if archive.sha256 is None:
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != archive.sha256:
        raise DownloadError(f"{name}: its SHA-256 is {found}, the published one {archive.sha256}")


@contextmanager
def _failures_told(url: str, part: Path) -> Iterator[None]:
    """Turn what the network and the disk raise into another try or a reason."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is no beginning of what the server has
            _forget(part)
        if error.code in _PASSING_STATES or error.code == 416:
            raise _PassingError(f"the server answered {error.code} {error.reason}") from error
        raise DownloadError(f"{url} can't be fetched: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _PassingError(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _PassingError(f"the connection failed ({error or type(error).__name__})") from error
    except OSError as error:
        hint = "; make room and run the command again, it goes on from there" if error.errno == errno.ENOSPC else ""
        raise DownloadError(f"{part} can't be written: {error.strerror or error}{hint}") from error


def _range_start(answer: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    return int(match[1]) if match else None


def _described(start: bytes) -> str:
    if start.lstrip()[:1] == b"<":
        return f"a web page{_title(start)}"
    return f"something that begins with {start[:12]!r}"


def _title(page: bytes) -> str:
    match = re.search(rb"<title[^>]*>\s*(.*?)\s*</title>", page, re.IGNORECASE | re.DOTALL)
    return f" ({match[1].decode('utf-8', 'replace')[:80]!r})" if match else ""


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _version_of(part: Path) -> str:
    try:
        return _version_file(part).read_text(encoding="latin-1")
    except OSError:
        return ""


def _remember_version(part: Path, answer: Any) -> None:
    """What tells that a later request meets the same file; a weak ETag doesn't."""
    tag = answer.headers.get("ETag") or ""
    version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""
    _version_file(part).write_text(version, encoding="latin-1")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
