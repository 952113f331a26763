"""Download one file: resumes after an interruption, and verifies its size and checksum."""

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

from breedclf._version import __version__
from breedclf.downloads.catalogue import Archive
from breedclf.errors import DownloadError
from breedclf.runtime.progress import progress_bar

log: logging.Logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30
MAX_TRIES = 4
_RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_ARCHIVE_STARTS = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")

OpenUrl = Callable[..., Any]


@dataclass(frozen=True)
class Web:
    """Access to the web; `open_url(request, timeout=...)` returns a response as urllib does."""

    open_url: OpenUrl = urllib.request.urlopen
    pause: Callable[[float], None] = time.sleep


class _RetryError(Exception):
    """The connection failed or ended early; the request can be repeated."""


def fetch(archive: Archive, folder: Path, web: Web | None = None, *, quiet: bool = False) -> Path:
    """Download a file into `folder`, or use the one that is there, and verify its size and checksum.

    An interrupted download is resumed if the server still has the same file. Each URL is tried until MAX_TRIES requests
    in a row have made no progress, with growing pauses.

    Raises:
        DownloadError: no URL can be reached or has the file, or the file isn't the published one.
    """
    target = folder / archive.name
    if target.exists():
        _check(target, archive, f"{target} (delete it to download it again)")
        return target
    part = folder / f"{archive.name}.part"
    if not _is_whole(part, archive):
        url = _fetch_from_any(part, target, archive, web or Web(), quiet=quiet)
        try:
            _check(part, archive, url)
        except DownloadError:
            _delete_part(part)
            raise
    part.replace(target)
    _delete_part(part)
    return target


def _is_whole(part: Path, archive: Archive) -> bool:
    """Whether an earlier run has downloaded the whole file; a part that is too long or wrong is deleted."""
    if _size(part) < archive.size_bytes:
        return False
    try:
        _check(part, archive, part.name)
    except DownloadError as error:
        log.info("%s; downloading it again", error)
        _delete_part(part)
        return False
    return True


def _fetch_from_any(part: Path, target: Path, archive: Archive, web: Web, *, quiet: bool) -> str:
    """Download from the first URL that has the file, and return that URL."""
    refusals = []
    for url in archive.urls:
        try:
            _fetch_from(url, part, archive, web, quiet=quiet)
        except DownloadError as error:
            refusals.append(str(error))
        else:
            return url
    raise DownloadError(
        "\n".join(refusals)
        + f"\nCheck the network and the proxy settings, or download {archive.urls[0]} on another machine, "
        f"save it as {target} and run the command again"
    )


def _fetch_from(url: str, part: Path, archive: Archive, web: Web, *, quiet: bool) -> None:
    tries, furthest = 0, _size(part)
    with progress_bar(archive.name, total=archive.size_bytes, unit="B", unit_scale=True, hidden=quiet) as bar:
        while True:
            try:
                _resume(url, part, archive, web, bar)
                return
            except _RetryError as error:
                tries = 1 if _size(part) > furthest else tries + 1
                furthest = max(furthest, _size(part))
                if tries >= MAX_TRIES:
                    raise DownloadError(f"{url} can't be downloaded: {error}") from error
                log.info("%s: %s; trying again", archive.name, error)
                web.pause(2 ** (tries - 1))


def _resume(url: str, part: Path, archive: Archive, web: Web, bar: Any) -> None:
    """Make one request, for the part that is still missing."""
    version = _version_of(part)
    have = _size(part) if version else 0
    headers = {"User-Agent": f"breedclf/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(url, headers=headers)
    with _errors_translated(url, part), web.open_url(request, timeout=TIMEOUT_SECONDS) as answer:
        start = have if answer.status == 206 else 0
        if answer.status == 206 and _range_start(answer) != have:
            _delete_part(part)
            raise _RetryError("the server sent another part of the file than the requested one")
        _refuse_another_file(url, answer, start, archive)
        chunk = answer.read(CHUNK_BYTES)
        if not start and chunk and not is_archive(chunk):
            raise DownloadError(f"{url} sent {_description(chunk)}, not an archive; is there a login page or a proxy?")
        bar.reset(archive.size_bytes)
        bar.update(start)
        if not start:  # only now discard what an earlier run downloaded
            _save_version(part, answer)
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
        raise _RetryError(f"the connection ended after {have:,} of {archive.size_bytes:,} bytes")


def is_archive(start: bytes) -> bool:
    """Whether a file starts like a zip, a compressed or a plain tar archive."""
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
            f"{url} has {start + int(length):,} bytes now, but {archive.size_bytes:,} were published: "
            "the file has been replaced"
        )


def _check(file: Path, archive: Archive, name: str) -> None:
    if (size := _size(file)) != archive.size_bytes:
        raise DownloadError(f"{name}: {size:,} bytes, but {archive.size_bytes:,} were published")
    if archive.sha256 is None:
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != archive.sha256:
        raise DownloadError(f"{name}: its SHA-256 is {found}, but {archive.sha256} was published")


@contextmanager
def _errors_translated(url: str, part: Path) -> Iterator[None]:
    """Translate errors of the network and the disk into a retry or a `DownloadError`."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server's file doesn't start with this part
            _delete_part(part)
        if error.code in _RETRY_STATUSES or error.code == 416:
            raise _RetryError(f"the server responded {error.code} {error.reason}") from error
        raise DownloadError(f"{url} can't be downloaded: the server responded {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _RetryError(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _RetryError(f"the connection failed ({error or type(error).__name__})") from error
    except OSError as error:
        hint = "; make room and run the command again to resume" if error.errno == errno.ENOSPC else ""
        raise DownloadError(f"{part} can't be written: {error.strerror or error}{hint}") from error


def _range_start(answer: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    return int(match[1]) if match else None


def _description(start: bytes) -> str:
    if start.lstrip()[:1] == b"<":
        return f"a web page{_title(start)}"
    return f"a file that starts with {start[:12]!r}"


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


def _save_version(part: Path, answer: Any) -> None:
    """Save the ETag or date that identifies this version of the file; a weak ETag doesn't."""
    tag = answer.headers.get("ETag") or ""
    version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""
    _version_file(part).write_text(version, encoding="latin-1")


def _delete_part(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
