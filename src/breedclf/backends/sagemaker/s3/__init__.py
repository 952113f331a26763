"""Amazon S3: URIs, uploads of what changed, downloads."""
