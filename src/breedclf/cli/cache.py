"""`breedclf cache list|clear`: features, decoded images, and digests of known files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime

from breedclf.cli.terminal import Terminal
from breedclf.data.decoded_cache import ImageCache
from breedclf.errors import ConfigError
from breedclf.features.store.sets import StoredSet
from breedclf.features.store.store import FeatureStore
from breedclf.files.cache_folder import cache_folder
from breedclf.files.file_cache import CacheEntry
from breedclf.files.known_files import KnownFiles
from breedclf.files.paths import path_argument
from breedclf.files.s3_uri import is_s3, whole_uri


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "clear"], help="show the entries, or delete those not in use")
    parser.add_argument(
        "--cache-dir", type=path_argument, metavar="DIR", help="folder of the cache (default: the platform's)"
    )
    parser.add_argument(
        "--feature-store",
        type=path_argument,
        metavar="DIR",
        help="folder of the features, if they aren't in the cache folder",
    )


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    store_uri = arguments.feature_store and whole_uri(arguments.feature_store)
    if store_uri and is_s3(store_uri):
        raise ConfigError(f"--feature-store={store_uri} is in S3: list or delete it with aws s3")
    caches = (ImageCache.at(arguments.cache_dir), KnownFiles.at(arguments.cache_dir))
    store = FeatureStore.at(arguments.feature_store and str(arguments.feature_store), arguments.cache_dir)
    is_clearing = arguments.action == "clear"
    sets = store.clear() if is_clearing else store.sets()
    files = [entry for cache in caches for entry in (cache.clear() if is_clearing else cache.entries())]
    folder = cache_folder(arguments.cache_dir)
    total = sum(each.size_bytes for each in sets) + sum(each.size_bytes for each in files)
    lines = [] if is_clearing else [*map(_set_as_text, sets), *map(_file_as_text, files)]
    action = "deleted" if is_clearing else "contains"
    lines.append(f"{folder}: {action} {_entries(len(sets) + len(files))}, {total / 1e6:.1f} MB")
    in_use = len(store.sets()) + sum(len(cache.entries()) for cache in caches) if is_clearing else 0
    if in_use:
        lines.append(f"{_entries(in_use)} not deleted, because a process uses it")
    document = {
        "folder": str(folder),
        "total_bytes": total,
        "deleted" if is_clearing else "entries": [*map(_set_as_json, sets), *map(_file_as_json, files)],
    }
    if is_clearing:
        document["in_use"] = in_use
    terminal.result(document, "\n".join(lines))
    return 0


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _set_as_json(stored: StoredSet) -> Mapping[str, object]:
    spec = stored.spec
    return {
        "kind": "features",
        "path": str(stored.path),
        "size_bytes": stored.size_bytes,
        "used_at": stored.used_at,
        "images": stored.images,
        "backbone": spec.get("name") or None,
        "weights": spec.get("weights"),
        "stages": spec.get("stages"),
        "view": _view(spec),
        "precision": spec.get("precision"),
        "engine": spec.get("engine"),
    }


def _file_as_json(entry: CacheEntry) -> Mapping[str, object]:
    return {
        "kind": entry.path.parent.name,
        "path": str(entry.path),
        "size_bytes": entry.size_bytes,
        "used_at": entry.used_at,
    }


def _set_as_text(stored: StoredSet) -> str:
    spec = stored.spec
    what = (
        f"{spec.get('name') or spec.get('weights')}, {spec.get('stages')}, view {_view(spec)}, {spec.get('precision')}"
    )
    count = "damaged or of a later version" if stored.images is None else f"{stored.images} images of {what}"
    if not spec and stored.images == 0:
        count = "empty"
    return f"features  {stored.path.name}  {_size_and_use(stored)}  {count}"


def _file_as_text(entry: CacheEntry) -> str:
    return f"{entry.path.parent.name:8}  {entry.path.stem:32}  {_size_and_use(entry)}"


def _size_and_use(entry: StoredSet | CacheEntry) -> str:
    used = datetime.fromtimestamp(entry.used_at, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{entry.size_bytes / 1e6:8.1f} MB  used {used} UTC"


def _view(spec: Mapping[str, object]) -> int | None:
    view = spec.get("view")
    return view[0] if isinstance(view, list) and view and isinstance(view[0], int) else None
