"""Chaos with real processes: hundreds of hosts, their senders, three vendors that fail in every way, and death at any moment.

``python -m tests.bench.chaos [hosts [seed]]``. Several users run two apps each, a few programs at a time. GA4, Segment and an
OTLP receiver on loopback fail as bad_backends.py has it. Hosts and senders are killed (SIGKILL) or terminated (SIGTERM) at
random moments, and pauses are lifted, as if time passed. Then all is well, one more host of each app runs, and what waits is
sent. The seed decides who does what; when it happens is up to the machine.

CHECKS
1. GA4 got no run twice, whatever it answered but 401: what it had not refused for the settings was never sent again.
2. Segment and OTLP got every run, but for those that they refused with a status that forbids a repetition; a run always
   under one id.
3. Each run is accounted for, at each destination: what the ledger says was sent and dropped is together at least what was on
   disk, and for each sender that was killed at most one request of GA4's more. Lost without a count is only what a host had not
   written before it was killed.
4. Counts are exact to the unit. Every host adds an amount of its own, a power of `BASE`, to a counter that some others add to as
   well, so each digit of a sum says how often one host was counted. Segment and OTLP, repetitions removed by their ids: once
   each host that ended by itself, but for what they refused for good; once or never one that was killed. GA4: never twice. A
   repetition has the amount of the first time.
5. No process is left, no file but those that spool/layout.py names for a spool in which nothing waits, and nothing in ``bad/``.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.queue import MAX_QUEUE_BYTES
from tests.bench.bad_backends import COUNTER, BadBackend, Count, destinations_at

ROOT = Path(__file__).parent.parent.parent
HOSTS = 600
AT_ONCE = 8
USERS = 4
APPS = ("plain", "pages")  # the second has two events of GA4's for each run
VENDORS = ("ga4", "segment", "otlp")
TIMEOUT_S = 3.0
PER_REQUEST = 25  # of GA4's, events: so many records are in flight at most
LEFT_FILES = re.compile(
    r"id(\.[0-9]+)?|settings\.json|ledger\.jsonl(\.1)?|[a-z0-9-]+\.json|1/(wake|lock|dropped|trimmed)|1/queue/[a-z0-9]+/pause"
)
FINAL = ("400", "500")  # Segment and OTLP: refused for good, at least by one of them
BASE, TOGETHER = 4, 8  # hosts of a counter's sum; so it has as many digits, each of them 0 or 1
QUIET_S = 180.0  # within which everything is sent, once all is well

# The command stands in the code, since one that does not is recorded as (unknown).
HOST = """
import json, sys, time
import otel_usage
app, marker, linger_s, destinations, who, amount = sys.argv[1:]
usage = otel_usage.init(app, version="1", consent="opt-out", destinations=json.loads(destinations),
    schema={{"{counter}": {{"kind": "count", "why": "x", "fields": {{"who": otel_usage.integer(100_000)}}}}}})
with usage.command({command!r}):
    open(marker, "x").close()
    usage.count("{counter}", int(amount), who=int(who))
    time.sleep(float(linger_s))
"""


@dataclass
class Chaos:
    """One run of the bench. on_disk: runs that were written before anything ended their host; perhaps: others.

    ended: those whose host ended by itself.
    """

    root: Path
    hosts: int
    seed: int
    on_disk: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    events: Counter[str] = field(default_factory=Counter)
    most_bytes: int = 0
    most_files: int = 0

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.calm = threading.Event()
        self.backends = {vendor: BadBackend(f"{self.seed} {vendor}") for vendor in VENDORS}
        for name in ("markers", "programs"):
            (self.root / name).mkdir()
        for user in range(USERS):
            (self.root / f"user{user}" / "state" / "debug").mkdir(parents=True)

    def homes(self) -> list[Path]:
        """Return the folders of all apps of all users."""
        return [self.root / f"user{user}" / "state" / app for user in range(USERS) for app in APPS]

    # What happens.

    def storm(self) -> None:
        """Let all hosts run, amid deaths and failures."""
        disturber = threading.Thread(target=self.disturb)
        disturber.start()
        running: list[tuple[str, subprocess.Popen[bytes], float, int]] = []
        number = 0
        while number < self.hosts or running:
            while number < self.hosts and len(running) < AT_ONCE:
                running.append(self.start(f"r{number}"))
                number += 1
            running = [one for one in running if not self.look_at(one)]
            time.sleep(0.005)
        self.calm.set()
        disturber.join()

    def start(self, command: str, *, doomed: bool = True) -> tuple[str, subprocess.Popen[bytes], float, int]:
        """Start a host; return it with the moment at which it is to die, and of which signal: 0 for of none."""
        user, app = self.chance.randrange(USERS), self.chance.choice(APPS)
        if not doomed:  # one of each
            user, which = divmod(int(command[1:]) % (USERS * len(APPS)), len(APPS))
            app = APPS[which]
        home = self.root / f"user{user}"
        destinations = destinations_at(*[self.backends[vendor] for vendor in VENDORS], TIMEOUT_S)
        if app == "pages":
            destinations["ga4"]["screens"] = "page_view"
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(home), "OTEL_USAGE_HOME": str(home / "state"),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'exporters'}", "OTEL_USAGE_SENDER": "detached",
            "OTEL_USAGE_SEND_DELAY_S": "0.3", f"{app.upper()}_TELEMETRY": "on",
        }  # fmt: skip
        number = self.chance.choice((0, 0, 0, 0, signal.SIGKILL, signal.SIGTERM)) if doomed else 0
        linger_s = 0.0 if not number else 0.3 * self.chance.random()
        program = self.root / "programs" / f"{command}.py"
        program.write_text(HOST.format(command=command, counter=COUNTER))
        argv = [sys.executable, str(program), app, str(self.root / "markers" / command), str(linger_s)]
        process = subprocess.Popen(
            [*argv, json.dumps(destinations), *map(str, counted_as(command))],
            env=environ,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
        )
        # Half of them die as soon as their run is on disk, since most others die before that.
        until = time.monotonic() + 0.6 * self.chance.random() if self.chance.random() < 0.5 else math.inf
        return command, process, until, number

    def look_at(self, host: tuple[str, subprocess.Popen[bytes], float, int]) -> bool:
        """True if a host has ended. It is killed if its time has come."""
        command, process, until, number = host
        if process.poll() is None:
            due = (self.root / "markers" / command).exists() if until == math.inf else time.monotonic() > until
            if number and due:
                process.send_signal(number)
                process.wait()
                self.events[f"hosts, {signal.Signals(number).name}"] += 1
            else:
                return False
        if process.returncode >= 0 and process.returncode != 0:
            raise AssertionError(f"{command}: exit code {process.returncode}")
        written = (self.root / "markers" / command).exists()
        (self.on_disk if written else self.perhaps).add(command)
        if process.returncode == 0:
            self.ended.add(command)
        self.events["runs on disk" if written else "runs that nobody can expect"] += 1
        self.events["runs on disk, of hosts that were killed"] += written and process.returncode < 0
        self.events["hosts"] += 1
        return True

    def disturb(self) -> None:
        """Until all hosts have ended: kill senders, lift pauses, have vendors refuse connections, and look how much waits."""
        chance = Random(self.seed + 1)
        while not self.calm.is_set():
            self.calm.wait(0.1 * chance.random())
            self.measure()
            for pid in self.senders():
                if chance.random() < 0.06:
                    number = chance.choice((signal.SIGKILL, signal.SIGTERM))
                    try:
                        os.kill(pid, number)
                        self.events[f"senders, {number.name}"] += 1
                    except ProcessLookupError:
                        pass
            if chance.random() < 0.05:  # rarely, so that much may wait
                self.lift_pauses(chance)
            backend = self.backends[chance.choice(VENDORS)]
            if chance.random() < 0.05:
                backend.refuse()
            if chance.random() < 0.5:
                for one in self.backends.values():
                    one.listen()

    def lift_pauses(self, chance: Random | None = None) -> None:
        """Let the pauses of some destinations be over, as after a while: of all, without a *chance*."""
        for home in self.homes():
            for path in [*home.glob("1/queue/*/pause"), *home.glob("1/wake")]:
                if chance is None or chance.random() < 0.5:
                    path.unlink(missing_ok=True)

    def measure(self) -> None:
        """Note how much lies in the largest spool."""
        for home in self.homes():
            sizes = []
            for path in home.rglob("*"):
                try:
                    if path.is_file():
                        sizes.append(path.stat().st_size)
                except OSError:
                    continue
            self.most_bytes, self.most_files = max(self.most_bytes, sum(sizes)), max(self.most_files, len(sizes))

    def senders(self) -> list[int]:
        """Return the process ids of the senders of this bench: they know our root from their environment."""
        pids = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"OTEL_USAGE_CHILD=1" in environ and str(self.root).encode() in environ:
                pids.append(int(entry.name))
        return pids

    def recover(self) -> None:
        """All is well: every app runs once more, again and again until nothing waits."""
        for backend in self.backends.values():
            backend.well.set()
            backend.listen()
        end = time.monotonic() + QUIET_S
        number = self.hosts
        wait_for(lambda: not self.senders(), QUIET_S)
        while True:
            self.lift_pauses()
            for _ in range(USERS * len(APPS)):
                host = self.start(f"r{number}", doomed=False)
                number += 1
                wait_for(lambda host=host: self.look_at(host), 60)  # type: ignore[misc]  # a default is no argument
            wait_for(lambda: not self.senders(), QUIET_S)
            if not any(self.waiting()) or time.monotonic() > end:
                return

    def waiting(self) -> list[str]:
        """Return the files of records that wait anywhere."""
        return [str(path) for home in self.homes() for path in home.rglob("*.jsonl") if "ledger" not in path.name]

    # What is looked at.

    def faults(self) -> list[str]:
        """Return what is wrong, one line for each; see CHECKS."""
        ga4 = self.backends["ga4"]
        at_risk = ga4.taken + sum((ga4.refused[status] for status in ga4.refused if status != "401"), Counter())
        wrong = [f"GA4 got {command} {n} times" for command, n in at_risk.items() if n > 1]
        for vendor in ("segment", "otlp"):
            backend = self.backends[vendor]
            wrong += [f"{vendor}: {command} has {len(ids)} ids" for command, ids in backend.ids.items() if len(ids) > 1]
            refused = set().union(*[backend.refused[status] for status in FINAL])
            missing = self.on_disk - set(backend.taken) - refused
            wrong += [f"{vendor} never got {command}" for command in sorted(missing)]
        wrong += [fault for vendor in VENDORS for fault in self.count_faults(vendor)]
        kills = self.events["senders, SIGKILL"]
        for vendor in VENDORS:
            sent, dropped = self.ledger(vendor)
            seen = self.on_disk | set(self.backends[vendor].taken)
            total = sent + sum(dropped.values()) - dropped["nameless"]  # of a host that died before it wrote anything
            most = len(self.on_disk | self.perhaps)
            line = f"{vendor}: {len(seen):,} runs, {sent:,} sent, {dict(dropped)} dropped"
            if total < len(seen):
                wrong.append(f"{line}: lost in silence")
            if vendor == "ga4" and total > most + kills * PER_REQUEST:
                wrong.append(f"{line}: counted too often")
            self.events[f"{vendor}: runs that never arrived"] = len(seen - set(self.backends[vendor].taken))
            self.events[f"{vendor}: runs that arrived more than once"] = sum(
                n > 1 for n in self.backends[vendor].taken.values()
            )
            self.events[f"{vendor}: sent, by the ledgers"] = sent
            for reason, n in dropped.items():
                self.events[f"{vendor}: dropped, {reason}"] = n
        wrong += [f"process {pid} is left" for pid in self.senders()]
        for home in self.homes():
            left = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
            wrong += [f"{home}/{name} is left" for name in left if not LEFT_FILES.fullmatch(name)]
        wrong += [f"faults of ours: {path.read_text()}" for path in self.root.glob("user*/state/debug/faults.log")]
        if self.most_bytes > len(VENDORS) * MAX_QUEUE_BYTES:
            wrong.append(f"{self.most_bytes:,} bytes in a spool")
        return wrong

    def count_faults(self, vendor: str) -> list[str]:
        """Return what is wrong with the counts at *vendor*; see CHECKS 4."""
        backend = self.backends[vendor]
        refused = [
            count for status in backend.refused_counts for count in backend.refused_counts[status] if status != "401"
        ]
        if vendor == "ga4":
            times = times_counted(backend.counts + refused)
            return [f"ga4: {command} was counted {n} times" for command, n in times.items() if n > 1]
        amounts: dict[str, set[int]] = {}
        for count in backend.counts + refused:
            amounts.setdefault(count.id, set()).add(count.amount)
        wrong = [f"{vendor}: {own} was counted as {sorted(n)}" for own, n in amounts.items() if len(n) > 1]
        times = times_counted(set(backend.counts))
        final = [count for status in FINAL for count in backend.refused_counts[status]]
        missing = self.ended - set(times) - set(times_counted(set(final)))
        self.events[f"{vendor}: counts that arrived"] = len(times)
        self.events[f"{vendor}: counts that arrived more than once"] = len(backend.counts) - len(set(backend.counts))
        wrong += [f"{vendor}: {command} was counted {n} times" for command, n in times.items() if n > 1]
        return wrong + [f"{vendor}: the count of {command} is missing" for command in sorted(missing)]

    def ledger(self, vendor: str) -> tuple[int, Counter[str]]:
        """Return how many runs the ledgers say were sent to *vendor*, and dropped there or before, by reason."""
        sent, dropped = 0, Counter[str]()
        for home in self.homes():
            for entry in Ledger(str(home)).entries():
                if (entry["destination"] == vendor and entry["signal"] == "traces") or entry["destination"] == "":
                    dropped.update(entry["dropped"])
                    sent += entry["records"] if entry["result"] == "sent" else 0
        return sent, dropped


def counted_as(command: str) -> tuple[int, int]:
    """Return the counter's field and the amount of the host of *command*."""
    who, place = divmod(int(command[1:]), TOGETHER)
    return who, BASE**place


def times_counted(counts: Iterable[Count]) -> Counter[str]:
    """Return how often each host is in *counts*, by its run; at most three times can be told apart."""
    sums = Counter[int]()
    for count in counts:
        sums[count.who] += count.amount
    return Counter(
        {
            f"r{who * TOGETHER + place}": digit
            for who, total in sums.items()
            for place in range(TOGETHER + 1)  # one more, for what was carried
            if (digit := total // BASE**place % BASE)
        }
    )


def wait_for(condition: Callable[[], object], deadline_s: float) -> None:
    """Wait until *condition*. Raises AssertionError if that takes too long."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.02)


def run(root: Path, hosts: int, seed: int) -> Chaos:
    """Let *hosts* run amid chaos under *root*, then let all be well. Raises AssertionError if anything is wrong."""
    chaos = Chaos(root, hosts, seed)
    try:
        chaos.storm()
        chaos.recover()
        wrong = chaos.faults()
    finally:
        chaos.calm.set()
        for pid in chaos.senders():
            os.kill(pid, signal.SIGKILL)
        for backend in chaos.backends.values():
            backend.close()
    if wrong:
        raise AssertionError(f"seed {seed}: {len(wrong)} faults\n" + "\n".join(wrong[:50]))
    return chaos


def main(hosts: int = HOSTS, seed: int = 0) -> None:
    """Print what happened, and that nothing was wrong with it."""
    began_s = time.monotonic()
    folder = tempfile.mkdtemp(prefix="chaos-")
    try:
        chaos = run(Path(folder), hosts, seed)
    except AssertionError:
        print(f"what is on disk stays in {folder}", file=sys.stderr)
        raise
    subprocess.run(["rm", "-rf", folder], check=True)
    print(f"{chaos.events['hosts']:,} hosts, seed {seed}: nothing wrong; {time.monotonic() - began_s:.0f} s")
    print(f"most in a spool: {chaos.most_bytes:,} bytes in {chaos.most_files:,} files")
    for event, n in sorted(chaos.events.items()):
        print(f"  {event:50} {n:>8,}")
    for vendor, backend in chaos.backends.items():
        for manner, n in sorted(backend.met.items()):
            print(f"  {vendor + ': ' + manner:50} {n:>8,}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
