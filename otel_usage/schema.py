"""What may be recorded: the table of attributes, and the rules for settings and schemas.

Ring 1 (background); loaded in the foreground only in tests and development.
"""
def check_settings(settings): pass
