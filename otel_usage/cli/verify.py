"""``otel-usage verify``: prove that off is off.

Ring 1 (background). Runs a program whose user has agreed, but for one switch, with us and with an inert module in our
place: what all runs with us did, and none without, is ours. Then without the switch: it must be seen to record, or
nothing was proved.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import CI, MACHINE, decide, getter, home, stored, variable, voices
from .run import is_python
from .telemetry import who
from .watch import Event, Init, Ran, audited, can_trace, traced

KINDS = ("socket", "lookup", "process", "file")
PAIRS = 4  # runs with us and without, at most: counts that vary by chance are all larger with us in 1 of 70 cases
TEST_RUNNER = "PYTEST_CURRENT_TEST"
POLICY = 10**9  # agreed to whatever may be collected
ANY = "*"
WIDTH, LINES = 200, 40  # of what is printed of the events; --json has all


class NothingProvedError(Exception):
    """Off may be off or not. The text says why that can't be told, and what to do."""


@dataclass
class Found:
    """What a program did only because of us. foreign: (kind, what); allowed: our code, and where a choice may be kept.

    decided_by: (layer, source) of the switch at proof, None if nobody says off; aside: other switches, left out of it.
    nothing: why nothing was proved, or "". codes: exit codes with us and without.
    """

    foreign: list[tuple[str, str]] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    watchers: list[str] = field(default_factory=list)
    codes: tuple[int, int] = (0, 0)
    decided_by: tuple[str, str] | None = None
    aside: list[str] = field(default_factory=list)
    hint: str = ""
    nothing: str = ""

    @property
    def clean(self) -> bool:
        """True if off is off."""
        return not self.foreign and not self.nothing

    def complaint(self, name: str) -> str:
        """Return what is wrong, in words; "" if off is off. name: the command line, as the user knows it."""
        if self.nothing:
            return f"proved nothing: {self.nothing}"
        if not self.foreign:
            return ""
        lines = [f"off is NOT off: only with us, `{name}` does this:"]
        for kind, what in self.foreign[:LINES]:
            if kind == "exit":
                what += f", without us {self.codes[1]}"
            lines.append(f"  {kind:8} {what if len(what) <= WIDTH else what[: WIDTH - 1] + '…'}")
        if len(self.foreign) > LINES:
            lines.append(f"  … and {len(self.foreign) - LINES} more")
        return "\n".join([*lines, self.hint] if self.hint else lines)


def add(commands: Any) -> None:
    """Add the sub-command."""
    told = commands.add_parser(
        "verify",
        help="prove that off is off, e.g. in your own CI",
        usage="otel-usage verify [--json] [--default] -- PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM (a Python program) as it is and without us, watch what it does, and fail (exit code 1) on"
        " any socket, DNS lookup, process or file that only appears with us. Say off first, as your users would: "
        "MYCLI_TELEMETRY=off otel-usage verify -- mycli --help. Everything else says on: a choice in a temporary home; CI and"
        " test-runner variables are left out. Exit code 2 if nothing was proved: also without the switch PROGRAM does not "
        "record. It runs four times or more: choose a harmless command.",
    )
    told.add_argument("--json", action="store_true", help="for machines")
    told.add_argument(
        "--default", action="store_true", help="prove it of the default: nobody has said anything, in this environment"
    )
    told.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    told.set_defaults(call=call)


def call(told: argparse.Namespace) -> int:
    """Compare, and say what was found: 0 if off is off, 1 if not, 2 if nothing was proved."""
    words = told.program[1:] if told.program[:1] == ["--"] else told.program
    if not words:
        print(
            "otel-usage: no program to verify; write it after --, e.g. otel-usage verify -- mycli --help",
            file=sys.stderr,
        )
        return 2
    path = shutil.which(words[0])
    if path is None or not is_python(path, words):
        print(f"otel-usage: {words[0]!r} is not a Python program on PATH", file=sys.stderr)
        return 2
    found = compare([path, *words[1:]], default=told.default)
    name = " ".join(words)
    if told.json:
        print(_json(found))
    elif found.nothing:
        print(f"otel-usage: {found.complaint(name)}", file=sys.stderr)
    else:
        _print(found, name)
    return 2 if found.nothing else 1 if found.foreign else 0


def _json(found: Found) -> str:
    decided = dict(zip(("layer", "source"), found.decided_by, strict=True)) if found.decided_by else None
    told = {
        "clean": found.clean,
        "proved_nothing": found.nothing or None,
        "decided_by": decided,
        "set_aside": found.aside,
        "watched_by": found.watchers,
        "only_with_us": found.foreign,
        "allowed": found.allowed,
        "exit_codes": found.codes,
    }
    return json.dumps(told, indent=2)


def _print(found: Found, name: str) -> None:
    if found.clean:
        counts = ", ".join(f"0 {kind}{'es' if kind == 'process' else 's'}" for kind in KINDS)
        print(f"off is off: with us, `{name}` does nothing that it does not do without us ({counts})")
    else:
        print(found.complaint(name))
    if found.decided_by is not None:
        layer, source = found.decided_by
        words = who(layer, source, os.environ.get(source, "") if layer == "environment" else "")
        print(f"kept off by: {words}" + ("; without that, it was seen to record" if found.clean else ""))
    if found.aside:
        print(f"set aside: {', '.join(found.aside)}")
    print(f"watched by: {', '.join(found.watchers)}")
    if found.allowed:
        print(f"allowed: reading our own code and where a choice may be kept ({', '.join(found.allowed)})")


def compare(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    strace: str | None = "strace",
    *,
    default: bool = False,
) -> Found:
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
            proof.found.nothing = str(exc)
    return proof.found


@dataclass(frozen=True)
class _Scene:
    """What a run finds. choice: what the user has stored; absent: files that switch the machine off, not to be seen."""

    command: Sequence[str]
    environ: Mapping[str, str]
    choice: str = ""
    absent: Sequence[str] = ()

    def without(self, offs: Iterable[tuple[str, str]], names: Sequence[str] = ()) -> _Scene:
        """Return the same scene without those who say off, (layer, source), and without the variables *names*."""
        gone = {where for layer, where in offs if layer == "environment"}.union(names)
        return replace(
            self,
            environ={name: value for name, value in self.environ.items() if name not in gone},
            absent=[where for layer, where in offs if layer == "machine"],
        )


class _Proof:
    """One proof. Every run finds a fresh folder of state, at the same place."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: str) -> None:
        self.found = Found(watchers=["audit hook"])
        self.given = environ
        self.name = " ".join([Path(command[0]).name, *command[1:]])
        self.state = os.path.join(folder, "state")
        self.log = os.path.join(folder, "log")
        self.init = Init("", "", 1, False, "")
        self.packages: set[str] = set()
        # Whoever is not off starts a sender, even in CI: one that waits first, and then finds nothing.
        ours = {
            "OTEL_USAGE_HOME": self.state,
            "OTEL_USAGE_SENDER": "detached",
            "OTEL_USAGE_SEND_DELAY_S": "10",
        }
        self.scene = _Scene(command, {**environ, **ours})

    def run(self, strace: str | None, default: bool) -> None:
        """Find out, with as few runs as it takes."""
        found = self.found
        first = self._audited(self.scene, inert=True)  # also has the program write its caches
        if not first.inits:
            raise NothingProvedError(
                f"`{self.name}` ended (exit code {first.code}) without having called otel_usage.init"
                + (f"; its last words: {first.last!r}" if first.last else "")
                + ". Choose a command that works here and calls it"
            )
        self.init, self.packages = first.inits[0], first.packages
        offs = self._offs()
        scene = self._default(offs) if default else self._switch(offs)
        self._judge(lambda inert: self._inside(scene, inert))
        if found.foreign:
            if found.decided_by is None:
                found.hint = f"nobody says off here; {variable(self.init.app)}_TELEMETRY=off would"
            return
        if found.decided_by is None:
            raise NothingProvedError(
                f"nobody says off here, and still `{self.name}` does not record: does it switch us off?"
            )
        self._control(offs)
        tracer = shutil.which(strace) if strace else None
        if tracer is not None and can_trace(tracer, scene.environ, self.log):
            found.watchers.append("strace")
            self._judge(lambda inert: self._outside(tracer, scene, inert))

    def _offs(self) -> list[tuple[str, str]]:
        """Return (layer, source) of all that say off, strongest first."""
        app, get = self.init.app, getter(self.given)
        offs = [(layer, where) for layer, where, mode in voices(app, get, self.init.flag) if mode == "off"]
        root = home(get)
        if root and stored(f"{root}/{app}/consent")[0] == "off":
            offs.append(("stored", f"{root}/{app}/consent"))
        return offs

    def _switch(self, offs: list[tuple[str, str]]) -> _Scene:
        """Return the scene in which the strongest switch says off, and nothing else keeps the program from recording."""
        names = [name for name in (*CI, TEST_RUNNER) if name in self.given]
        self.found.decided_by = offs[0] if offs else None
        self.found.aside = [*[where for _, where in offs[1:]], *names]
        choice = "off" if offs and offs[0][0] == "stored" else "on"
        return replace(self.scene.without(offs[1:], names), choice=choice)

    def _default(self, offs: list[tuple[str, str]]) -> _Scene:
        """Return the scene in which nobody has said anything."""
        if offs:
            raise NothingProvedError(
                f"{who(*offs[0])} says off, so the default is not asked. Remove that, or --default"
            )
        init, environ = self.init, self.scene.environ
        decision = decide(init.app, init.consent, init.policy, environ, service=init.service)
        self.found.decided_by = (decision.layer, decision.source) if decision.mode == "off" else None
        return self.scene

    def _control(self, offs: list[tuple[str, str]]) -> None:
        """See the program record once nobody says off any more: else the proof could not have failed."""
        end = self.scene.command.index("--") if "--" in self.scene.command else len(self.scene.command)
        kept = [word for at, word in enumerate(self.scene.command) if at > end or not word or word != self.init.flag]
        scene = self.scene.without(offs, [*CI, TEST_RUNNER])
        said = {variable(self.init.app) + "_TELEMETRY": "on", "OTEL_USAGE_SENDER": "none"}
        ran = self._audited(replace(scene, command=kept, environ={**scene.environ, **said}, choice="on"), inert=False)
        folder = f"{self.state}/{self.init.app}/"
        if not any(event.kind == "file" and not event.reads and folder in str(event) for event in ran.events):
            raise NothingProvedError(
                f"`{self.name}` was not seen to record with {variable(self.init.app)}_TELEMETRY=on either"
                f" (exit code {ran.code}). Choose a command that does; see that nothing in the program switches us off"
            )

    def _audited(self, scene: _Scene, inert: bool) -> Ran:
        with self._planted(scene):
            ran = audited(scene.command, scene.environ, self.log, inert=inert, absent=scene.absent)
        if ran.blind:
            raise NothingProvedError(
                f"`{self.name}` could not be watched to its end: it left no descriptor to write with"
            )
        return ran

    def _inside(self, scene: _Scene, inert: bool) -> list[Event]:
        ran = self._audited(scene, inert)
        codes = self.found.codes
        self.found.codes = (codes[0], ran.code) if inert else (ran.code, codes[1])
        return ran.events

    def _outside(self, tracer: str, scene: _Scene, inert: bool) -> list[Event]:
        with self._planted(scene):
            return traced(tracer, scene.command, scene.environ, self.log, inert=inert, absent=scene.absent) or []

    @contextmanager
    def _planted(self, scene: _Scene) -> Iterator[None]:
        folder = os.path.join(self.state, self.init.app) if scene.choice else self.state
        os.makedirs(folder, 0o700)
        if scene.choice:
            Path(folder, "consent").write_text(f"{scene.choice} 1 {POLICY}\n")
        yield
        shutil.rmtree(self.state, ignore_errors=True)

    def _judge(self, run: Callable[[bool], list[Event]]) -> None:
        """Add to what was found what all runs with us did, and none without. run: does one, given whether without us.

        Each event counts as itself and as one of its sort: a name that is new in every run is no difference, but one
        file more than without us is.
        """
        ours: Counter[Event] | None = None
        theirs: Counter[Event] = Counter()
        for _ in range(PAIRS):
            seen = _counted(event for event in run(False) if not self._allowed(event))
            ours = seen if ours is None else ours & seen
            theirs |= _counted(run(True))
            left = ours - theirs
            if not left:
                return
        named = [event for event in left if event.words[0] != ANY]
        sorts = set(left) - set(named) - {_sort(event) for event in named}
        named += [event for event in seen if event not in theirs and _sort(event) in sorts]
        for event in named:
            what = str(event).replace(self.state, home(getter(self.given)) or self.state)
            if (event.kind, what) not in self.found.foreign:
                self.found.foreign.append((event.kind, what))

    def _allowed(self, event: Event) -> bool:
        """True for what it takes to decide: reading our own code, and where a choice may be kept."""
        if not event.reads:
            return False
        path = event.words[1]
        if any((path + "/").startswith(package + "/") for package in self.packages):
            label = "our code"
        elif path == f"{self.state}/{self.init.app}/consent":
            label = "the stored choice"
        elif path == MACHINE or path.startswith(MACHINE + "/"):
            label = path
        else:
            return False
        if label not in self.found.allowed:
            self.found.allowed.append(label)
        return True


def _counted(events: Iterable[Event]) -> Counter[Event]:
    counted: Counter[Event] = Counter()
    for event in events:
        if event.reads:  # how often does not matter: the commands that we mount look for translations, as others do
            counted[event] = 1
            continue
        counted[event] += 1
        sort = _sort(event)
        if sort is not None:
            counted[sort] += 1
    return counted


def _sort(event: Event) -> Event | None:
    """Return what *event* has in common with those that differ by chance: names, ports. None for an exit code."""
    if event.kind == "exit":
        return None
    words = event.words[1:] if event.kind == "file" else ()
    return Event(event.kind, (ANY, event.words[0], *[os.path.dirname(word) for word in words]))
