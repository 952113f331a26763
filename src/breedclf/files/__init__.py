"""Files on disk: written whole or not at all, cached by checksum, private to this user."""
