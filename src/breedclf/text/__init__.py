"""Text that programs and terminals can take: JSON without NaN, JSON lines, printable names."""
