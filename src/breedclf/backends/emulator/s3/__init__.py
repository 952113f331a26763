"""The S3 behind the emulator."""
