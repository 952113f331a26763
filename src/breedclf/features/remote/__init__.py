"""A feature store in S3 that jobs share: segments of rows, and leases so that each image is computed once."""
