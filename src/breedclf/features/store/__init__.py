"""The feature store: backbone outputs on disk, one row per image, found by the digest of the image's content."""
