"""Resource attributes that the sender adds to every record: the identity, and what describes the machine.

The host leaves them out, since asking for them costs time in every run, and none can change before the record is sent.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone

from .. import __version__
from .installation_id import Installation

# Semantic conventions' well-known host.arch values, by what the system calls them.
_ARCH = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm32", "armv6l": "arm32",
    "i386": "x86", "i686": "x86", "ppc64le": "ppc64", "ppc64": "ppc64", "s390x": "s390x", "ia64": "ia64",
}  # fmt: skip
_OS = {"win32": "windows", "cygwin": "windows", "sunos5": "solaris", "aix": "aix"}


def describe_installation(
    installation: Installation | None, ci: str = "", *, ephemeral: bool = False
) -> Mapping[str, str | bool]:
    """Return the attributes to add to every resource.

    ephemeral: the installation's id will not last.
    ci: the CI system that the program ran in. Nothing is installed there, so that there is no installation, nor an id of one.
    The system's version is cut to its first two numbers: what follows may be the name of a build of somebody's own.
    """
    machine = platform.machine().lower()
    numbers = re.match(r"\d+(\.\d+)?", platform.release())
    kind = re.match(r"[a-z]+", sys.platform)
    attributes: dict[str, str | bool] = {
        "os.type": _OS.get(sys.platform, kind.group() if kind else "unknown"),
        "host.arch": _ARCH.get(machine, re.sub(r"[^a-z0-9_]", "", machine) or "unknown"),
        "telemetry.sdk.name": "otel-usage",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }
    if ci:
        attributes["usage.ci_system"] = ci
    elif installation is not None:
        attributes["app.installation.id"] = installation.id
        if installation.first_s:
            attributes["usage.first_week"] = iso_week(installation.first_s)
        if ephemeral:
            attributes["app.installation.ephemeral"] = True
    if numbers:
        attributes["os.version"] = numbers.group()
    return attributes


def iso_week(at_s: float) -> str:
    """Return the week (UTC) of a time, by ISO 8601.

    >>> iso_week(1_795_000_000)
    '2026-W47'
    """
    year, week, _ = datetime.fromtimestamp(at_s, timezone.utc).isocalendar()
    return f"{year}-W{week:02d}"
