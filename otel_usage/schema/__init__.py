"""What may be recorded: the table of attributes, a host's declarations, and the checks of both."""

from .. import _load

_load("aliases").give_modules("schema")
