"""In the host's process, from a call to a file in the spool. One adapter per framework."""

from .. import _load

_load("aliases").give_modules("recording")
