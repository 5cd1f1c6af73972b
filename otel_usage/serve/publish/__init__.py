"""Numbers for everybody, as static files, from which nobody can tell an installation.

`numbers` counts whole months and blurs them, `files` writes pages and JSON, `command` is ``otel-usage publish``.
"""
