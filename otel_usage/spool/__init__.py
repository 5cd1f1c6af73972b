"""The folders on disk: every path and file format, once."""
