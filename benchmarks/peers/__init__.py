"""Programs written with other libraries, for comparisons; each runs in `.venv-peers` (`make bench-peers`)."""
