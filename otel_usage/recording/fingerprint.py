"""Whether a pause is over because the settings that it was made for are no longer those of the program.

Loaded only where a sender found the settings wrong, or nowhere to send to.
"""

import os
from binascii import crc32

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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
