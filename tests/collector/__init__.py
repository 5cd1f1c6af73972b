"""A real Collector with our files, on this machine."""
