"""Amazon S3: URIs, incremental uploads, downloads."""
