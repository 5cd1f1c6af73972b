"""Whether a pause is over because the settings that it was made for are no longer those of the program; and one more pause.

Loaded only where a sender found the settings wrong, or nowhere to send to, or where no sender can be started.
"""

import os
from binascii import crc32
from time import time

from .. import __version__, _load
from ..spool.layout import WAKE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .recorder import Recorder

NO_SENDER_PAUSE_S = 3600.0  # before another attempt to start one

VARIABLES = ("OTEL_EXPORTER_", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER")  # what begins like these says where to


def fingerprint(settings: str, environ: "Mapping[str, str]") -> str:
    """Return what changes with a program's settings, with the exporters' variables and with our version.

    settings: the settings as text, as `sender_start` hands them to the sender. It is a checksum: no key is kept in it.
    """
    rows = sorted([f"{name}={value}" for name, value in environ.items() if name.startswith(VARIABLES)])
    text = settings.partition(" at 0x")[0]  # an object's address is another in every run
    return f"{crc32('|'.join([__version__, text, *rows]).encode('utf-8', 'surrogatepass')):08x}"


def changed(token: str, settings: str) -> bool:
    """True if the pause that the file *token* tells of was made for other settings than these."""
    descriptor = os.open(token, os.O_RDONLY)
    try:
        return os.read(descriptor, 8) != fingerprint(settings, os.environ).encode()
    finally:
        os.close(descriptor)


def give_up(recorder: "Recorder", error: OSError) -> None:
    """Have `status` say why no sender can be started, try no other one for an hour, and drop what is too much to wait.

    FORMAT of the file: see spool/wake_token.py. Raises OSError.
    """
    _load("recording.folders").trim(recorder.spool)
    problem = f"no sender can be started: {error.strerror or error}"
    if recorder.settings.get("python") is None and error.errno == 2:
        problem += " (sys.executable)"
    token = f"{recorder.spool}/{WAKE}"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(
            descriptor, f"{fingerprint(repr(recorder.settings), os.environ)}\n{problem}\n".encode("ascii", "replace")
        )
    finally:
        os.close(descriptor)
    until_s = time() + NO_SENDER_PAUSE_S
    os.utime(token, (until_s, until_s))
