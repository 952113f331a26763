"""The objects a user holds: thin, and the same whatever backend does the work."""
