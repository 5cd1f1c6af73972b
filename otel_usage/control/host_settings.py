"""Ask a host for the settings that it gave to `otel_usage.init`, without recording or disturbing anything.

ALGORITHM

1. Start a Python process that runs `_CHILD`, with recording switched off in its environment, and with an open
   temporary file. The host's own output goes to pipes and is not looked at, so that it can't be taken for the answer.
2. The child imports the host, finds the handle that `init` returned, and writes the handle's settings to the file as a
   Python literal: JSON knows no tuples, which field types are. Secrets are replaced before they are written.
3. Read the file when the child has child. An exit code, or an empty file, is an error; the last line that the child
   wrote to stderr says which.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from ast import literal_eval
from typing import Any

from ..setting_error import SettingError
from ..settings.check import check_settings

# The child's program. sys.argv: the number of the file's descriptor, and the target.
_CHILD = """import sys, os
descriptor, target = int(sys.argv[1]), sys.argv[2]
sys.argv[:] = [target]  # what the host may look at: no arguments
import otel_usage
from otel_usage.settings.remembered import redact_destinations, replace_classes
module, _, attribute = target.partition(":")
if module.endswith(".py"):
    import runpy
    sys.path.insert(0, os.path.dirname(os.path.abspath(module)))
    names = runpy.run_path(module)
else:
    import importlib
    sys.path.insert(0, os.getcwd())
    names = vars(importlib.import_module(module))
attribute = attribute or "usage"
handle = names[attribute] if attribute in names else sys.exit(f"{module!r} has no {attribute!r}")
settings = getattr(handle, "settings", None) or sys.exit(f"{target!r} is not what otel_usage.init returned")
settings = {**settings, "schema": replace_classes(settings["schema"])}
settings["destinations"] = redact_destinations(settings["destinations"])
with open(descriptor, "w", encoding="utf-8") as file:
    file.write(repr(settings))
"""


def settings_of(target: str, python: str = sys.executable) -> dict[str, Any]:
    """Return the settings that a host gave to `init`. target: ``module:usage`` or ``path/to/file.py:usage``.

    python: the interpreter that imports the host, default this one. Without ``:usage`` the handle's name is ``usage``.
    Raises SettingError if the host can't be imported, or if its settings are wrong.
    """
    with tempfile.TemporaryFile() as answer:
        environ = {**os.environ, "OTEL_USAGE_DISABLED": "1"}
        environ.pop("OTEL_USAGE_CHILD", None)  # set in what a sender starts: `init` would do nothing at all
        child = subprocess.run(
            [python, "-c", _CHILD, str(answer.fileno()), target],
            env=environ,
            pass_fds=[answer.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        answer.seek(0)
        text = answer.read().decode()
    if child.returncode or not text:
        last = (child.stderr.strip().splitlines() or ["it ended before it was imported"])[-1]
        raise SettingError(
            f"{target!r} can't be described: {last}; expected module:usage, the handle from otel_usage.init"
        )
    settings: dict[str, Any] = literal_eval(text)
    check_settings({**settings, "destinations": None})  # the real keys are hidden by now, and would not pass
    return settings
