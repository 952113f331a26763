"""Files on disk: atomic writes, caches, checksums, private folders, paths."""
