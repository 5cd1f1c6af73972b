"""Prove that off is off: that a program does nothing with us which it does not do without us.

ALGORITHM

1. Run the program with an inert module in our place, to learn what it gives to ``init``, and which option says off.
2. Ask who says off in the user's environment. The strongest of them is at proof, and is left as it is. All others are
   set aside, and so are CI and test-runner variables: each of them alone would keep the program from recording. A
   stored choice in a temporary home says on, so that nothing but the switch at proof says off.
3. Compare what the program does with us and without: see `comparison`. It is watched from inside, by an audit hook.
4. Run it with no switch at all. It must be seen to record; a proof that could not have failed is none.
5. Where strace may be used, compare once more, watched from outside.

Nothing is sent: senders wait longer than a run lasts, and each run's state is removed right after it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..consent.gate import CI, decide, getter, home, stored, variable, voices
from ..control.wording import who
from ..spool.layout import CONSENT, MACHINE
from .comparison import observed_only_with_us
from .findings import Findings
from .watch import InitCall, Observation, WatchedRun, can_trace, run_audited, run_traced

TEST_RUNNER = "PYTEST_CURRENT_TEST"
SET_ASIDE = (*[name.decode() for name in CI], TEST_RUNNER)  # each alone keeps a program from recording
AGREED_POLICY = 10**9  # the version of what is collected in the stored choice: agreed to whatever it may be


def compare(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    strace: str | None = "strace",
    *,
    default: bool = False,
) -> Findings:
    """Return what *command*, a Python program, does only with us. environ: its environment, default this process's.

    strace: the program to watch from outside with too, if it is there. default: no switch is at proof but the host's
    default. Nothing is sent: the state of each run is removed after it, before a sender would look.
    """
    environ = dict(os.environ if environ is None else environ)
    with tempfile.TemporaryDirectory(prefix="otel-usage-verify-", ignore_cleanup_errors=True) as folder:
        proof = _Proof(command, environ, folder)
        try:
            proof.run(strace, default)
        except NothingProvedError as exc:
            proof.findings.proved_nothing = str(exc)
    return proof.findings


class NothingProvedError(Exception):
    """Off may be off or not. The text says why that can't be known, and what to do."""


@dataclass(frozen=True)
class _Scene:
    """What a run finds. choice: what the user has stored; absent: files that switch the machine off, not to be seen."""

    command: Sequence[str]
    environ: Mapping[str, str]
    choice: str = ""
    absent: Sequence[str] = ()

    def without(self, offs: Iterable[tuple[str, str]], names: Sequence[str] = ()) -> _Scene:
        """Return the same scene without those who say off, (layer, source), and without the variables *names*."""
        removed = {source for layer, source in offs if layer == "environment"}.union(names)
        return replace(
            self,
            environ={name: value for name, value in self.environ.items() if name not in removed},
            absent=[source for layer, source in offs if layer == "machine"],
        )


class _Proof:
    """One proof. Every run finds a fresh folder of state, at the same place."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: str) -> None:
        self.findings = Findings(watched_by=["audit hook"])
        self.user_environ = environ
        self.command_line = " ".join([Path(command[0]).name, *command[1:]])
        self.state = os.path.join(folder, "state")
        self.log = os.path.join(folder, "log")
        self.init = InitCall("", "", 1, False, "")
        self.packages: set[str] = set()
        # Whoever is not off starts a sender, even in CI: one that waits first, and then finds nothing.
        variables = {
            "OTEL_USAGE_HOME": self.state,
            "OTEL_USAGE_SENDER": "detached",
            "OTEL_USAGE_SEND_DELAY_S": "10",
        }
        self.scene = _Scene(command, {**environ, **variables})

    @property
    def choice_file(self) -> str:
        """Where the program looks for the user's stored choice."""
        return f"{self.state}/{self.init.app}/{CONSENT}"

    def run(self, strace: str | None, default: bool) -> None:
        """Find out, with as few runs as it takes."""
        findings = self.findings
        first = self._run_audited(self.scene, inert=True)  # also has the program write its caches
        if not first.inits:
            raise NothingProvedError(
                f"`{self.command_line}` ended (exit code {first.exit_code}) without having called otel_usage.init"
                + (f"; its last words: {first.last_line!r}" if first.last_line else "")
                + ". Choose a command that works here and calls it"
            )
        self.init, self.packages = first.inits[0], first.packages
        offs = self._offs()
        scene = self._scene_of_default(offs) if default else self._scene_of_switch(offs)
        self._compare(lambda inert: self._watch_inside(scene, inert))
        if findings.only_with_us:
            if findings.decided_by is None:
                findings.hint = f"nobody says off here; {variable(self.init.app)}_TELEMETRY=off would"
            return
        if findings.decided_by is None:
            raise NothingProvedError(
                f"nobody says off here, and still `{self.command_line}` does not record: does it switch us off?"
            )
        self._require_recording(offs)
        tracer = shutil.which(strace) if strace else None
        if tracer is not None and can_trace(tracer, scene.environ, self.log):
            findings.watched_by.append("strace")
            self._compare(lambda inert: self._watch_outside(tracer, scene, inert))

    def _offs(self) -> list[tuple[str, str]]:
        """Return (layer, source) of all that say off, strongest first."""
        app, get = self.init.app, getter(self.user_environ)
        offs = [(layer, source) for layer, source, mode in voices(app, get, self.init.flag) if mode == "off"]
        root = home(get)
        if root and stored(f"{root}/{app}/{CONSENT}")[0] == "off":
            offs.append(("stored", f"{root}/{app}/{CONSENT}"))
        return offs

    def _scene_of_switch(self, offs: list[tuple[str, str]]) -> _Scene:
        """Return the scene in which the strongest switch says off, and nothing else keeps the program from recording."""
        names = [name for name in SET_ASIDE if name in self.user_environ]
        self.findings.decided_by = offs[0] if offs else None
        self.findings.set_aside = [*[source for _, source in offs[1:]], *names]
        choice = "off" if offs and offs[0][0] == "stored" else "on"
        return replace(self.scene.without(offs[1:], names), choice=choice)

    def _scene_of_default(self, offs: list[tuple[str, str]]) -> _Scene:
        """Return the scene in which nobody has said anything."""
        if offs:
            raise NothingProvedError(
                f"{who(*offs[0])} says off, so the default is not asked. Remove that, or --default"
            )
        init, environ = self.init, self.scene.environ
        decision = decide(init.app, init.consent, init.policy, environ, service=init.service)
        self.findings.decided_by = (decision.layer, decision.source) if decision.mode == "off" else None
        return self.scene

    def _require_recording(self, offs: list[tuple[str, str]]) -> None:
        """See the program record once nobody says off any more: else the proof could not have failed."""
        command = self.scene.command
        end = command.index("--") if "--" in command else len(command)
        without_flag = [word for at, word in enumerate(command) if at > end or not word or word != self.init.flag]
        scene = self.scene.without(offs, [*SET_ASIDE])
        switched_on = {variable(self.init.app) + "_TELEMETRY": "on", "OTEL_USAGE_SENDER": "none"}
        scene = replace(scene, command=without_flag, environ={**scene.environ, **switched_on}, choice="on")
        run = self._run_audited(scene, inert=False)
        folder = f"{self.state}/{self.init.app}/"
        if not any(seen.kind == "file" and not seen.reads and folder in str(seen) for seen in run.observations):
            raise NothingProvedError(
                f"`{self.command_line}` was not seen to record with {variable(self.init.app)}_TELEMETRY=on either"
                f" (exit code {run.exit_code}). Choose a command that does; see that nothing in the program switches us off"
            )

    def _run_audited(self, scene: _Scene, inert: bool) -> WatchedRun:
        with self._state_of(scene):
            run = run_audited(scene.command, scene.environ, self.log, inert=inert, absent=scene.absent)
        if run.blind:
            raise NothingProvedError(
                f"`{self.command_line}` could not be watched to its end: it left no descriptor to write with"
            )
        return run

    def _watch_inside(self, scene: _Scene, inert: bool) -> list[Observation]:
        run = self._run_audited(scene, inert)
        with_us, without_us = self.findings.exit_codes
        self.findings.exit_codes = (with_us, run.exit_code) if inert else (run.exit_code, without_us)
        return run.observations

    def _watch_outside(self, tracer: str, scene: _Scene, inert: bool) -> list[Observation]:
        with self._state_of(scene):
            return run_traced(tracer, scene.command, scene.environ, self.log, inert=inert, absent=scene.absent) or []

    @contextmanager
    def _state_of(self, scene: _Scene) -> Iterator[None]:
        """Make the folder of state that a run finds, with the user's choice in it, and remove it afterwards."""
        os.makedirs(os.path.dirname(self.choice_file) if scene.choice else self.state, 0o700)
        if scene.choice:
            Path(self.choice_file).write_text(f"{scene.choice} 1 {AGREED_POLICY}\n")
        yield
        shutil.rmtree(self.state, ignore_errors=True)

    def _compare(self, run: Callable[[bool], list[Observation]]) -> None:
        """Add to the findings what *run* shows to happen only with us; paths are those that the user knows."""
        for observation in observed_only_with_us(run, self._is_allowed):
            what = str(observation).replace(self.state, home(getter(self.user_environ)) or self.state)
            if (observation.kind, what) not in self.findings.only_with_us:
                self.findings.only_with_us.append((observation.kind, what))

    def _is_allowed(self, observation: Observation) -> bool:
        """True for what it takes to decide: reading our own code, and where a choice may be kept. Adds it to the findings."""
        if not observation.reads:
            return False
        path = observation.words[1]
        if any((path + "/").startswith(package + "/") for package in self.packages):
            label = "our code"
        elif path == self.choice_file:
            label = "the stored choice"
        elif path == MACHINE or path.startswith(MACHINE + "/"):
            label = path
        else:
            return False
        if label not in self.findings.allowed:
            self.findings.allowed.append(label)
        return True
