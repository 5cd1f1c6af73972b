"""The states of a segment file, under random interleavings of two destinations, answers, deaths, full disks and clocks.

`CI_LIVES` interleavings here; as many as one likes with ``python -m tests.bench.model``. With OTEL_USAGE_SLOW=1 also
`REAL_LIVES` with real processes that are really killed, over HTTP.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from otel_usage.delivery.ledger import Ledger

from ..spools import Spool
from .backends import Answer, backends, takes
from .test_partial_delivery import revive
from .world import ANSWERS, World, faked, random_life

CI_LIVES = 2_000
PARTS = 10
REAL_LIVES = 300
SLOW = os.environ.get("OTEL_USAGE_SLOW")
answers = st.lists(st.sampled_from(ANSWERS), max_size=8)


class Machine(RuleBasedStateMachine):
    """The same world, for Hypothesis: a sequence that breaks an invariant is made as short as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.context = faked(self.world)

    @rule(files=st.integers(1, 3), spans=st.integers(1, 5))
    def record(self, files: int, spans: int) -> None:
        """Hosts end."""
        self.world.record(files, spans)

    @rule(answers=answers, fuse=st.integers(0, 90), after=st.booleans())
    def live(self, answers: list[str], fuse: int, after: bool) -> None:
        """A sender lives, and may die at a system call."""
        with faked(self.world):
            self.world.live(answers, fuse, after=after)

    @rule(answers=answers, full=st.integers(1, 12))
    def full(self, answers: list[str], full: int) -> None:
        """A sender lives while the disk becomes full."""
        with faked(self.world):
            self.world.live(answers, full=full)

    @rule(seconds=st.sampled_from([1.0, 70.0, 4_000.0, 90_000.0, -3_600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, or the clock is put back."""
        self.world.wait(seconds)

    def teardown(self) -> None:
        """All is well again."""
        try:
            with faked(self.world):
                self.world.finish()
        finally:
            self.world.close()


def test_every_sequence_that_hypothesis_thinks_of() -> None:
    """GA4's kind at most once, others at least once, each record accounted for, whatever comes after what."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=10,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_random_lives(part: int) -> None:
    """Each seed is one interleaving; a failure names the seed."""
    for seed in range(part, CI_LIVES, PARTS):
        random_life(seed)


def test_the_model_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that sends what was in flight once more to everybody is noticed within few lives."""
    from otel_usage.delivery.destination import Destination

    real = Destination.__init__

    def forgetful(self: Destination, *args: object, **keywords: object) -> None:
        real(self, *args, **keywords)  # type: ignore[arg-type]
        self.at_most_once = False

    monkeypatch.setattr(Destination, "__init__", forgetful)
    with pytest.raises(AssertionError, match="counted twice"):
        any(map(random_life, range(50)))


@pytest.mark.skipif(not SLOW, reason="takes minutes; set OTEL_USAGE_SLOW=1")
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("part", range(PARTS))
def test_real_processes_really_killed(tmp_path: Path, plain_environ: None, part: int) -> None:
    """Senders are processes, destinations speak HTTP, death is SIGKILL or SIGTERM at any moment: the same invariants."""
    for life in range(part, REAL_LIVES, PARTS):
        real_life(tmp_path / f"state{life}", Random(life))


class Chances:
    """What each request meets, while *sender* lives; doubts: how often a sender was killed during one."""

    KINDS = ("take", "take", "take", "busy", "kill", "terminate")

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.sender: subprocess.Popen[bytes] | None = None
        self.doubts = 0

    def answer(self, number: int, commands: list[str]) -> Answer:
        """Answer one request, which may be the last one that the sender makes."""
        kind = self.chance.choice(self.KINDS) if self.sender else "take"
        if kind == "busy":
            return 503, {"Retry-After": "1"}, b""
        if self.sender and kind != "take":
            self.sender.send_signal(signal.SIGTERM if kind == "terminate" else signal.SIGKILL)
            self.doubts += kind == "kill"
        return takes(number, commands)


def real_life(root: Path, chance: Random) -> None:
    """Let two senders live among failures, then all be well."""
    chances = Chances(chance)
    with backends(chances.answer, chances.answer) as (ga4, otlp):
        spool = Spool(root, {"ga4": ga4.as_ga4, "otlp": otlp.url})
        commands = {f"c{n}" for n in range(chance.randint(1, 120))}
        for command in sorted(commands):
            spool.run(command=command)
        for _ in range(2):
            code = f"from otel_usage.delivery.start import main; main({spool.settings!r})"
            chances.sender = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
            chances.sender.wait(60)
            revive(spool)
        chances.sender = None
        for _ in range(3):
            spool.drain()
            revive(spool)
        dropped: Counter[str] = Counter()
        for entry in Ledger(str(spool.home)).entries():
            if entry["destination"] == "ga4" and entry["signal"] == "traces":
                dropped.update(entry["dropped"])
        assert max(ga4.acknowledged.values(), default=1) == 1, root
        assert commands == set(otlp.acknowledged), root
        assert len(ga4.acknowledged) + sum(dropped.values()) >= len(commands), root
        assert dropped["unknown_delivery"] <= 25 * chances.doubts, root
        assert [] == spool.files(), root
