"""The fixtures of all suites: a host program, a user, a spool, a receiver on loopback."""

from .hosts import host
from .spools import plain_environ, sink, spool
from .users import user

__all__ = ["host", "plain_environ", "sink", "spool", "user"]
