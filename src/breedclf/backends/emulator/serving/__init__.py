"""Models, endpoint configurations and endpoints in the emulator."""
