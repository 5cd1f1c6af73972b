"""For a host's own tests: capture what would be recorded, and see that no test sends anything.

A pytest plugin, found by its entry point; ``-p no:otel_usage`` turns it off. In any test, captured or not, it is an error
(`SettingError`) to record what the schema does not declare. ::

    def test_upload_is_recorded(captured_usage):
        main(["upload", "report.pdf"])

        assert_event(captured_usage, "report.upload", format="pdf")
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from . import Usage, _handles, _usage
from .recording.captured_runs import CapturedRuns, outcome_of
from .recording.forget import forget
from .recording.recorder import Recorder

if TYPE_CHECKING:
    from .recording.actions import Action

__all__ = ["Captured", "Event", "SendError", "assert_event", "captured"]


class SendError(AssertionError):
    """A test was about to send usage data for real."""


@dataclass(frozen=True)
class Event:
    """What would be recorded. kind: ``action``, ``count``, ``error``, ``heartbeat`` or ``run``; n: for counts, how many."""

    kind: str
    name: str
    fields: Mapping[str, object]
    n: int = 1
    failed: bool = False


class Captured:
    """Everything recorded inside `captured`, oldest first: as it would be written, ranges in place of numbers.

    Stands in for the recorder. commands: the names given to ``usage.command``. runs: see there; they are not among the
    events.
    """

    def __init__(self, usage: Usage) -> None:
        from .recording.actions import Events

        self.settings = usage.settings
        self.app = usage.app
        self.has_run, self.over = True, False  # the test is the program
        self.is_service, self.service, self.children = False, None, None
        self.pid = os.getpid()
        self.start_ns = time.time_ns()
        self.resource = ""
        self.run = _Run()
        self.commands = self.run.commands
        self.frameworks = CapturedRuns()
        recorder: Any = self  # it has all that `Events` needs of a recorder
        self._recorded = Events(recorder)
        self._events = _Checked(self)  # what `Usage` records with

    def owns_run(self) -> bool:
        """Return True: what is recorded is this process's own."""
        return True

    def finish(self) -> None:
        """Do nothing: there is no run to write."""

    @property
    def runs(self) -> list[Event]:
        """The runs of click, typer and argparse programs that the test called, such as ``CliRunner().invoke(app, …)``.

        name: the command, ``report upload``; fields: ``options``, the names of those that were given, and ``outcome``, as far
        as the framework decides it.
        """
        return [
            Event("run", run.command_name(), {"options": run.options, "outcome": outcome_of(run)})
            for run in self.frameworks.runs
        ]

    def __iter__(self) -> Iterator[Event]:
        self._recorded.settle()
        for action in self._recorded.actions:
            yield Event(action.kind, action.name, dict(action.pairs), failed=action.failed)
        for key, (n,) in self._recorded.counters.items():
            yield Event("count", key[0], dict(key[1:]), n)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def named(self, name: str) -> list[Event]:
        """Return the events of one name."""
        return [event for event in self if event.name == name]

    def __repr__(self) -> str:
        return (
            "\n".join([f"{e.kind} {e.name} {dict(e.fields)}" + (f" x{e.n}" if e.n != 1 else "") for e in self])
            or "nothing"
        )


class _Run:
    """Stands in for the run: takes the names that a program gives it."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.command_path = None  # so that each name is taken, and not the first alone
        self.package = ""

    def name_command(self, path: Sequence[str]) -> None:
        self.commands.append(" ".join(path))

    def note_exit(self, *_: object) -> None:
        """Do nothing: how the test ends is nobody's affair."""


class _Checked:
    """The recorder's events, but what is undeclared raises."""

    due = 0.0  # at once

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self.pending: list[tuple[str, int, Mapping[str, object]]] = []

    @property
    def pid(self) -> int:
        """Return this process's id: what a forked child records is its own."""
        return os.getpid()

    def _check(self, kind: str, name: str, fields: Mapping[str, object], more: Sequence[object] = ()) -> None:
        from .schema.declaration import check_event

        check_event(self._captured.settings["schema"], kind, name, fields, more)

    def drop(self, reason: str, n: int = 1) -> None:
        """Do nothing: what would be dropped has raised."""

    def action(self, kind: str, name: str, fields: Mapping[str, object]) -> _CheckedAction:
        self._check(kind, name, fields)
        return _CheckedAction(self, self._captured._recorded.action(kind, name, fields))

    def note(self, call: tuple[str, int, Mapping[str, object]]) -> None:
        """Keep a count until `tick`, which comes at once."""
        self.pending.append(call)

    def tick(self) -> None:
        """Check the counts that `Usage.count` has noted, and add them up."""
        counts, self.pending = self.pending, []
        for name, n, fields in counts:
            self._check("count", name, fields)
            self._captured._recorded.pending.append((name, n, fields))
        self._captured._recorded.settle()

    def flush(self) -> None:
        """Do nothing: what was captured stays to be looked at."""


class _CheckedAction:
    """An action whose later fields are checked too."""

    def __init__(self, events: _Checked, action: Action) -> None:
        self._events, self._action = events, action

    def __enter__(self) -> _CheckedAction:
        self._action.__enter__()
        return self

    def __exit__(self, kind: object, raised: BaseException | None, trace: object) -> None:
        self._action.__exit__(kind, raised, trace)

    def set(self, /, *more: object, **fields: object) -> None:
        self._events._check(self._action.kind, self._action.name, fields, more)
        self._action.set(**fields)

    # As those of the real one.

    def __copy__(self) -> _CheckedAction:
        return self

    def __deepcopy__(self, memo: object) -> _CheckedAction:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return self._action.__reduce__()


@contextmanager
def captured(app: str = "") -> Iterator[Captured]:
    """Capture what the program records inside ``with captured() as events:``, whatever the environment says.

    app: of a plugin or library, to capture what that records; by default the test is the program, whose app called `init`
    first. Raises SettingError, where it is recorded, for what the schema does not declare; LookupError before `init`.
    """
    usage = _handles.get(app, Usage()) if app else _usage
    if "schema" not in usage.settings:
        raise LookupError("otel_usage.init was not called yet: import the module that calls it first")
    before = usage._recorder, usage._current, usage._strict
    events: Any = Captured(usage)  # Any: it stands in for a Recorder
    usage._recorder, usage._current, usage._strict = events, None, True
    events.frameworks.watch()
    try:
        yield events
    finally:
        events.frameworks.unwatch()
        usage._recorder, usage._current, usage._strict = before


def assert_event(events: Captured, name: str, /, *, times: int | None = None, **fields: object) -> Event:
    """Return the first event *name* that has *fields*; fail, with a list of what there is, if there is none.

    times: how many there must be; with 0, what is returned is an event whose n is 0.
    """
    __tracebackhide__ = True
    matching = [event for event in events.named(name) if fields.items() <= event.fields.items()]
    expected = f"{name} {fields}" if fields else name
    if times is not None and len(matching) != times:
        pytest.fail(f"{expected} was recorded {len(matching)} times, not {times}; recorded was:\n{events!r}")
    if times == 0:
        return Event("", name, fields, n=0)
    if not matching:
        pytest.fail(f"{expected} was not recorded; recorded was:\n{events!r}")
    return matching[0]


# -- the plugin ---------------------------------------------------------------------------------------------------

_attempts: list[str] = []


def _refuse_to_send(self: Recorder, orphan: bool = False, early: bool = False) -> None:  # noqa: ARG001  the shape of `wake`
    if self.decision.mode == "on":
        _attempts.append(self.app)


def pytest_configure(config: pytest.Config) -> None:
    """Guard the session: no process of ours is started, no record reaches the user's own folder."""
    home = tempfile.mkdtemp(prefix="otel-usage-tests-")
    guards = {"OTEL_USAGE_SENDER": "none", "OTEL_USAGE_HOME": home}  # for the programs that tests start
    before = {name: os.environ.get(name) for name in guards}
    os.environ.update(guards)
    real_wake = Recorder.wake
    Recorder.wake = _refuse_to_send  # type: ignore[assignment]

    def restore() -> None:
        for usage in (_usage, *_handles.values()):
            forget(usage._recorder)  # the test runner's own run is nobody's
        Recorder.wake = real_wake
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(home, ignore_errors=True)

    config.add_cleanup(restore)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Fail a test that was about to send."""
    if _attempts:
        names = ", ".join(sorted(set(_attempts)))
        _attempts.clear()
        raise SendError(
            f"{names}: this test was about to send usage data for real; remove what switches it on "
            f"(an explicit on in the environment), or use otel_usage.testing.captured()"
        )


@pytest.fixture
def captured_usage() -> Iterator[Captured]:
    """What the program records during this test."""
    with captured() as events:
        yield events


@pytest.fixture
def verify_off() -> Callable[..., None]:
    """A function that fails unless off is off: ``verify_off(["mycli", "--help"], env={"MYCLI_TELEMETRY": "off"})``.

    It fails too if nothing was proved. ``default=True``: see `otel_usage.cli.proof.compare`.
    """

    def verify(command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any) -> None:
        __tracebackhide__ = True
        from .cli.proof import compare

        path = shutil.which(command[0])
        if path is None:
            pytest.fail(f"{command[0]!r} is not a program on PATH")
        findings = compare([path, *command[1:]], {**os.environ, **(env or {})}, **options)
        if not findings.clean:
            pytest.fail(findings.complaint(" ".join(command)))

    return verify
