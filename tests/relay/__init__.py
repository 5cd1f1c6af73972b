"""The relay, on this machine."""
