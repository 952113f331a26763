"""Validation of AWS requests, by the services' own models and the documented rules; for clients and the emulator."""
