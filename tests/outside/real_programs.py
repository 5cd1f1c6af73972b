"""Run real programs from PyPI without us and with us, and hold what is recorded against what each run truly is.

The programs, and what their runs truly are, stand in real_programs.txt. `make programs` installs them into build/programs, in
the versions of programs/*.txt.

ALGORITHM, for each run
1. The program runs twice without us, in a fresh folder with a few files to work on, then once with us. There is no network.
2. What it printed, how it ended, which files and processes it left is compared. Where that differs from both runs without us,
   it is compared once more without numbers: many programs print times and ids of their own.
3. What is recorded is read, and searched for `secret`, the word that stands in for everything a user types.
4. When all runs of a program are through, a sender sends them to a receiver on loopback. What arrives must be all of it, and
   is searched too.

WAYS to be recorded: `run`, by ``otel-usage run``; `init`, by one line in front of the program's own start; `instrument`, under
``opentelemetry-instrument``, in an environment that has ``otel-usage[instrument]`` beside the program, and by OpenTelemetry's
own exporters: there a run is recorded if it arrives, and there is no third step.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ..hosts import ROOT, Span, spans_in, until
from ..spools import Sink

CASES = Path(__file__).with_name("real_programs.txt")
PROGRAMS = ROOT / "build" / "programs"  # `make programs`: one environment per file of programs/
WAYS = ("run", "init", "instrument")
TIMEOUT_S = 120
NOWHERE = "http://127.0.0.1:9"  # the discard port: a proxy that answers nobody
NOT_JUDGED = {"--help", "-h", "--version", "-V"}  # not every framework lists its own options: see docs/frameworks.md
AT = "import sys\n"  # stands in every start script that pip writes
INIT = """sys.path.append({root!r})
import otel_usage
otel_usage.init("prog", version="1", consent="opt-in", destinations={{"otlp": {address!r}}})
"""
WORK = {
    "good.py": '"""A module."""\n\nX = 1\n',
    "bad.py": "import os\nx=1;y = 2\n",
    "broken.py": "def (\n",
    "test_ok.py": "def test_a():\n    pass\n",
    "test_bad.py": "def test_a():\n    assert False\n",
    "host.py": "import typer\napp = typer.Typer()\n\n\n@app.command()\ndef go():\n    pass\n",
    "tool.py": "import cyclopts\n\napp = cyclopts.App()\n\n\n@app.command\ndef go():\n    print(1)\n",
    "tasks.py": "from invoke import task\n\n\n@task\ndef secret_build(c, fast=False):\n    print(1)\n",
    "noxfile.py": "import nox\n\n\n@nox.session\ndef secret_lint(session):\n    pass\n",
    "tox.ini": "[tox]\nskipsdist = true\nenvlist = secretenv\n[testenv]\nskip_install = true\n",
    "SConstruct": "Default(None)\n",
    "mkdocs.yml": "site_name: secret\n",
    "docs/index.md": "# secret\n",
    "page.rst": "Title\n=====\n\nText.\n",
    "broken.rst": "Title\n==\n\n.. nonsense::\n",
    "good.yaml": "---\na: 1\n",
    "bad.yaml": "a:   1\na: 2\n",
    "messages.pot": 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "a"\nmsgstr ""\n',
    "good.sql": "SELECT 1\n",
    "mails.mbox": "From a@example.org Thu Jan  1 00:00:00 1970\nFrom: a@example.org\nSubject: b\n\nText\n",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n',
    ".pre-commit-config.yaml": "repos: []\n",
    "requirements.in": "",
    "stestr/.stestr.conf": "[DEFAULT]\ntest_path=.\n",
}


@dataclass(frozen=True)
class Case:
    """One run of a program, and what it truly is. environment: where `make programs` has installed it."""

    program: str
    framework: str
    environment: str
    words: str
    command: str
    options: tuple[str, ...]
    outcome: str
    code: int

    def __str__(self) -> str:
        return f"{self.program} {self.words}"


@dataclass
class Result:
    """What became of one run. recorded: the runs that were recorded of it; problems: what it did otherwise with us."""

    case: Case
    way: str
    recorded: list[Span] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    leaked: bool = False

    @property
    def judged(self) -> dict[str, bool | None]:
        """Return what is right; None where it is not claimed to be known."""
        case = self.case
        span = self.recorded[0] if len(self.recorded) == 1 else None
        right: dict[str, bool | None] = {"unchanged": not self.problems, "no typed word": not self.leaked}
        right["one run"] = span is not None
        code, outcome, _ = span.ending if span is not None else (None, "", "")
        right["command"] = span is not None and span.command == case.command
        right["options"] = span is not None and judged_options(span.options) == judged_options(case.options)
        right["outcome"] = outcome == case.outcome
        right["code"] = None if code is None else code == case.code
        return right

    def __str__(self) -> str:
        wrong = ", ".join(
            name if right is False else f"{name} not known" for name, right in self.judged.items() if not right
        )
        spans = [f"{one.command!r} {','.join(one.options)} {one.ending}" for one in self.recorded]
        case = self.case
        truth = f"{case.command!r} {','.join(case.options)} {case.outcome} {case.code}"
        return f"{self.way}: {case}: {wrong}; recorded {'; '.join(spans) or 'nothing'}, truly {truth} {self.problems or ''}"


def judged_options(options: Iterable[str]) -> list[str]:
    return sorted(set(options) - NOT_JUDGED)


def read_cases(text: str) -> Iterator[Case]:
    """Yield the runs that *text*, a file like real_programs.txt, declares."""
    program = framework = environment = ""
    for line in text.splitlines():
        if line.startswith("["):
            program, framework, environment = line.strip("[]").split(", ")
        elif line and not line.startswith("#"):
            words, _, truth = line.partition("→")
            command, options, outcome, code = re.split(r"\s{2,}", truth.strip())
            given = () if options == "-" else tuple(options.split(","))
            yield Case(program, framework, environment, words.strip(), command, given, outcome, int(code))


def start_of(case: Case, way: str) -> list[str]:
    """Return the command line that starts the program of *case*; [] if it is not installed for this *way*."""
    environment = f"{case.environment}-instrumented" if way == "instrument" else case.environment
    folder = Path(sys.executable).parent if case.environment == "-" else PROGRAMS / environment / "bin"
    if case.program.startswith("-m "):
        return [str(folder / "python"), *case.program.split()] if (folder / "python").exists() else []
    return [str(folder / case.program)] if (folder / case.program).exists() else []


def can_run(case: Case, way: str) -> bool:
    """True if the program of *case* is installed, and can be started in this way."""
    start = start_of(case, way)
    return len(start) == 1 and AT in Path(start[0]).read_text() if way == "init" and start else bool(start)


@dataclass
class Trace:
    """What a run left in the world."""

    code: int
    out: str
    err: str
    files: list[str]
    left: int

    def masked(self) -> Trace:
        """Return it without the numbers that differ from run to run."""
        out, err, files = (
            re.sub(r"[0-9a-f]*\d[0-9a-f.:,]*", "0", text) for text in (self.out, self.err, "\n".join(self.files))
        )
        squeezed = [re.sub(r"[ ─═-]+", " ", text) for text in (out, err)]
        return Trace(self.code, *squeezed, sorted(set(files.splitlines())), self.left)


class Machine:
    """A user's machine in *folder*, on which the runs of one program are judged."""

    def __init__(self, folder: Path, way: str, sink: Sink) -> None:
        self.folder, self.way, self.sink = folder, way, sink
        self.home, self.work = folder / "state", folder / "work"
        self.seen: set[Path] = set()

    def environ(self, case: Case, ours: bool) -> dict[str, str]:
        environ = {
            "PATH": f"{Path(start_of(case, self.way)[0]).parent}:/usr/bin:/bin",
            "HOME": str(self.folder / "user"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "80",
            "PYTHONHASHSEED": "0",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE),
        }
        if ours and self.way == "instrument":
            environ.update(
                OTEL_SERVICE_NAME=case.program,
                OTEL_TRACES_EXPORTER="otlp",
                OTEL_METRICS_EXPORTER="otlp",
                OTEL_LOGS_EXPORTER="none",
                OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
                OTEL_EXPORTER_OTLP_ENDPOINT=self.sink.address,
                no_proxy="127.0.0.1",
            )
        elif ours:
            environ.update(OTEL_USAGE_SENDER="none", PROG_TELEMETRY="on")
        return {**environ, "OTEL_USAGE_HOME": str(self.home)} if ours else environ

    def trace(self, argv: list[str], environ: dict[str, str]) -> Trace:
        """Run *argv* in a fresh folder."""
        for place in (self.work, self.folder / "user"):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        for name, text in WORK.items():
            (self.work / name).parent.mkdir(exist_ok=True)
            (self.work / name).write_text(text)
        running = subprocess.Popen(
            argv, cwd=self.work, env=environ, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = running.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            out, err = running.communicate()
        places = [self.work, self.folder / "user"]
        files = sorted(str(one.relative_to(self.folder)) for place in places for one in place.rglob("*"))
        files = [one for one in files if "__pycache__" not in one]
        return Trace(
            running.returncode,
            out.decode("utf-8", "replace"),
            err.decode("utf-8", "replace"),
            files,
            in_session(running.pid),
        )

    def judge(self, case: Case) -> Result:
        """Run *case* without us, twice, and with us."""
        words = shlex.split(case.words)
        plain = [self.trace([*self.start(case, ours=False), *words], self.environ(case, ours=False)) for _ in range(2)]
        with_us = self.trace([*self.start(case, ours=True), *words], self.environ(case, ours=True))
        result = Result(case, self.way)
        for what in ("code", "out", "err", "files", "left"):
            one, two, three = (getattr(trace, what) for trace in (*plain, with_us))
            if three not in (one, two):
                one, two, three = (getattr(trace.masked(), what) for trace in (*plain, with_us))
            if three not in (one, two):
                result.problems.append(f"{what} differs: {two!r:.600} is {three!r:.600}")
        if plain[0].code != case.code:
            result.problems.append(f"ends with {plain[0].code}, not {case.code}: {plain[0].err[-300:]}")
        for path in sorted(self.home.rglob("*.traces.jsonl")):
            if path not in self.seen:
                self.seen.add(path)
                result.recorded += [span for span in spans_in(path) if span.attributes["usage.kind"] == "run"]
        if self.way == "instrument":
            result.recorded = runs_in(self.sink)
        result.leaked = any(b"secret" in path.read_bytes() for path in self.home.rglob("*") if path.is_file())
        result.leaked |= any(b"secret" in body for _path, _headers, body in self.sink.told)
        self.sink.told.clear()  # what this run has sent: nothing of ours lives on to send more
        return result

    def start(self, case: Case, ours: bool) -> list[str]:
        """Return the command line that starts the program of *case*, with us or without."""
        start = start_of(case, self.way)
        if self.way == "instrument":
            return [*([str(Path(start[0]).parent / "opentelemetry-instrument")] if ours else ()), *start]
        if self.way == "run":
            ourselves = [sys.executable, "-m", "otel_usage.cli", "run", "--to", self.sink.address, "--"]
            return [*(ourselves if ours else ()), *start]
        script = self.folder / "bin" / Path(start[0]).name
        script.parent.mkdir(parents=True, exist_ok=True)
        lines = Path(start[0]).read_text().splitlines(keepends=True)
        if ours:
            lines.insert(lines.index(AT) + 1, INIT.format(root=str(ROOT), address=self.sink.address))
        script.write_text("".join(lines))
        return [str(Path(start[0]).parent / "python"), str(script)]

    def arrived(self, case: Case, n: int) -> tuple[int, bool]:
        """Run *case* once more, with a sender, which sends the *n* runs before it too.

        Return how many of them arrive, and whether a typed word does.
        """
        environ = {**self.environ(case, ours=True), "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
        environ = {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")}
        self.trace([*self.start(case, ours=True), *shlex.split(case.words)], environ)

        def runs() -> int:
            return sum(span["attributes"].get("usage.kind") == "run" for span in self.sink.spans()) - 1

        try:
            until(lambda: runs() >= n, 30)
        except AssertionError:
            pass
        return runs(), any(b"secret" in body for _path, _headers, body in self.sink.told)


def runs_in(sink: Sink) -> list[Span]:
    """Return the runs that *sink* has received."""
    return [
        Span(
            span["name"],
            span["attributes"],
            span["resource"],
            span.get("status", {}).get("code") == 2,
            (span["traceId"], span["spanId"], span.get("parentSpanId", "")),
            int(span["startTimeUnixNano"]),
            int(span["endTimeUnixNano"]),
        )
        for span in sink.spans()
        if span["attributes"].get("usage.kind") == "run"
    ]


def in_session(session: int) -> int:
    """Return how many processes of *session* still live, once those that are about to end have ended."""

    def living() -> int:
        n = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            n += fields[3] == str(session) and fields[0] != "Z"
        return n

    try:
        until(lambda: not living(), 2)
    except AssertionError:
        return living()
    return 0


def judge_all(
    cases: Iterable[Case], folder: Path, ways: Iterable[str] = WAYS, workers: int = 2
) -> Iterator[tuple[str, list[Result], tuple[int, bool]]]:
    """Yield (program, its results, (runs that arrived, whether a typed word did)) of each program and way."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        for way in ways:
            if can_run(case, way):
                groups.setdefault((case.program, way), []).append(case)

    def judged(at: int, way: str, own: list[Case]) -> tuple[str, list[Result], tuple[int, bool]]:
        place = folder / f"{at}{way}"
        place.mkdir()
        with closing(Sink()) as sink:
            machine = Machine(place, way, sink)
            results = [machine.judge(case) for case in own]
            n = sum(len(one.recorded) for one in results)
            # The programs' own environments have not what a sender needs: under `run` it is ours that sends.
            arrived = machine.arrived(own[0], n) if way == "run" else (n, False)
        shutil.rmtree(place, ignore_errors=True)
        return own[0].program, results, arrived

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(judged, at, way, own) for at, ((_, way), own) in enumerate(groups.items())]
        for one in waiting:
            yield one.result()


def fractions(
    results: Iterable[Result], by_framework: bool = True
) -> dict[tuple[str, str], dict[str, tuple[int, int]]]:
    """Return {(way, framework): {what: (right, of)}}; of the code how many are known, and how many are wrong."""
    sums: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    for result in results:
        shares = {what: bool(right) for what, right in result.judged.items() if what != "code"}
        shares["code known"] = result.judged["code"] is not None
        shares["code wrong"] = result.judged["code"] is False
        for name in (result.case.framework, "all") if by_framework else ("all",):
            row = sums.setdefault((result.way, name), {})
            for what, holds in shares.items():
                right, of = row.get(what, (0, 0))
                row[what] = (right + holds, of + 1)
    return sums
