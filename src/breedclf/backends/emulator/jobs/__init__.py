"""Training, tuning and transform jobs in the emulator."""
