"""Who may call the emulator: keys, Signature Version 4, origins."""
