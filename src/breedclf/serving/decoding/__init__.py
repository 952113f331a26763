"""Decoding of request images, in threads or in a process that can be killed."""
