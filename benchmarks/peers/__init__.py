"""Programs using other libraries, for comparison; they run in `.venv-peers` (`make bench-peers`)."""
