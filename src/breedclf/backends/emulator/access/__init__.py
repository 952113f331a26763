"""Access control of the emulator: keys, Signature Version 4, origins."""
