"""`breedclf cache list|clear`: the caches of features and of decoded images."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from breedclf.cli.console import Console
from breedclf.data.decoded_cache import ImageCache
from breedclf.files.cache_folder import cache_folder
from breedclf.files.file_cache import CacheEntry
from breedclf.files.known_files import KnownFiles
from breedclf.files.paths import path_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "clear"], help="show the entries, or delete them")
    parser.add_argument(
        "--cache-dir", type=path_argument, metavar="DIR", help="folder of the cache (default: the platform's)"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    caches = (ImageCache.at(arguments.cache_dir), KnownFiles.at(arguments.cache_dir))
    clearing = arguments.action == "clear"
    entries = [entry for cache in caches for entry in (cache.clear() if clearing else cache.entries())]
    folder = cache_folder(arguments.cache_dir)
    total = sum(entry.size_bytes for entry in entries)
    action = "deleted" if clearing else "contains"
    lines = [] if clearing else [_as_text(entry) for entry in entries]
    lines.append(f"{folder}: {action} {len(entries)} entries, {total / 1e6:.1f} MB")
    document = {
        "folder": str(folder),
        "total_bytes": total,
        "deleted" if clearing else "entries": [
            {"path": str(entry.path), "size_bytes": entry.size_bytes, "used_at": entry.used_at} for entry in entries
        ],
    }
    console.result(document, "\n".join(lines))
    return 0


def _as_text(entry: CacheEntry) -> str:
    used = datetime.fromtimestamp(entry.used_at, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{entry.path.parent.name:8}  {entry.path.stem}  {entry.size_bytes / 1e6:8.1f} MB  used {used} UTC"
