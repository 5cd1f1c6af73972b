"""Run a program once as if its user had said on, and deliver its run to a receiver on this machine, by a sender of its own.

ALGORITHM
1. Run the program with a folder of state of its own, with no sender, and with ``startup/doctor/`` first on PYTHONPATH: that
   says on, and hands over what the program gave to ``init``.
2. Start a sender as the program would, by its interpreter and with its ``sys.path`` (recording/sender_start.py), but with
   that folder, and with a receiver on this machine as the one destination.
3. What arrives there is the program's run.
Nothing leaves this machine.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..consent.gate import VOICES, variable
from ..receiver.arrival import Arrival
from ..receiver.server import Listener
from ..recording.sender_start import BOOT, BRAKE
from ..settings.text import read_settings
from ..spool.files import list_folder
from ..spool.layout import FORMAT, NEW, TRACES

STARTUP = str(Path(__file__).parent.parent / "startup" / "doctor")  # the folder that is put on PYTHONPATH
PROGRAM_S, SENDER_S = 60.0, 60.0  # how long each may take


@dataclass
class TrialRun:
    """What became of one run.

    exit_code: of the program, None if it had to be ended; last_line: of its stderr. settings: None if it never called `init`,
    and empty if they are no plain values. python: the interpreter that a sender is started with.
    recorded: whether a run was written down. sender_error: the sender's last words, "" if it ended well.
    arrivals: what the receiver got.
    """

    exit_code: int | None = None
    last_line: str = ""
    settings: dict[str, Any] | None = None
    python: str = ""
    recorded: bool = False
    sender_error: str = ""
    arrivals: list[Arrival] = field(default_factory=list)

    @property
    def arrived(self) -> bool:
        """True if the run itself was received."""
        return any("resourceSpans" in arrival.body for arrival in self.arrivals)


def try_run(command: Sequence[str], environ: Mapping[str, str]) -> TrialRun:
    """Run *command*, a Python program, and deliver its run to a receiver of our own. environ: the user's."""
    trial = TrialRun()
    with tempfile.TemporaryDirectory(prefix="otel-usage-doctor-", ignore_cleanup_errors=True) as folder:
        own = {**environ, "OTEL_USAGE_HOME": folder, "OTEL_USAGE_SENDER": "none"}
        path = _run_program(trial, command, own)
        if trial.settings:
            app = str(trial.settings["app"])
            new = list_folder(f"{folder}/{app}/{FORMAT}/{NEW}")
            trial.recorded = any(name.endswith(TRACES) for name in new)
            if trial.recorded:
                _deliver(trial, {**own, f"{variable(app)}_TELEMETRY": "on"}, folder, path)
    return trial


def _run_program(trial: TrialRun, command: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Run the program, and return its ``sys.path``."""
    with tempfile.TemporaryFile() as answer:
        names = [where.lstrip("!") for where in VOICES if where[0] != "/"]
        handover = marshal.dumps((answer.fileno(), names, environ.get("PYTHONPATH")), 2).hex()
        python_path = os.pathsep.join([STARTUP, *([environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else [])])
        try:
            ended = subprocess.run(
                command,
                env={**environ, "OTEL_USAGE_DOCTOR": handover, "PYTHONPATH": python_path},
                pass_fds=[answer.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROGRAM_S,
                check=False,
            )
            trial.exit_code, trial.last_line = ended.returncode, _last_line(ended.stderr)
        except subprocess.TimeoutExpired:
            trial.last_line = f"it was ended after {PROGRAM_S:.0f} s"
        answer.seek(0)
        text = answer.read().decode(errors="replace")
    if not text:
        return []
    try:
        settings, interpreter, path = read_settings(text)
    except ValueError:
        trial.settings = {}
        return []
    trial.settings, trial.python = settings, settings.get("python") or interpreter
    return list(path)


def _deliver(trial: TrialRun, environ: Mapping[str, str], folder: str, path: Sequence[str]) -> None:
    """Have a sender take the run to a receiver that listens for as long as it works."""
    assert trial.settings is not None
    app = trial.settings["app"]
    server = Listener(0, trial.arrivals.append)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings = {**trial.settings, "destinations": {"otlp": server.address}}
    order = {
        "app": app,
        "path": list(path),
        "home": f"{folder}/{app}",
        "mode": "on",
        "since_s": 0,
        "ci": "",
        "lines": [],
    }
    names = {where.lstrip("!").replace("{APP}", variable(app)) for where in VOICES} - {f"{variable(app)}_TELEMETRY"}
    own = {name: value for name, value in environ.items() if name not in names}
    try:
        ended = subprocess.run(
            [trial.python, "-I", "-S", "-c", BOOT, "otel-usage", app],
            env={**own, BRAKE.decode(): "1"},
            input=marshal.dumps((0.0, order, settings), 2),
            capture_output=True,
            timeout=SENDER_S,
            check=False,
        )
        trial.sender_error = _last_line(ended.stderr) or (f"exit code {ended.returncode}" if ended.returncode else "")
    except (OSError, subprocess.TimeoutExpired) as exc:
        trial.sender_error = str(exc)
    finally:
        server.shutdown()
        server.server_close()


def _last_line(output: bytes) -> str:
    lines = [line for line in output.decode(errors="replace").split("\n") if line.strip()]
    return lines[-1].strip() if lines else ""
