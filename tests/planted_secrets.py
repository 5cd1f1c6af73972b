"""Plant secrets everywhere a program can meet them, run it in every way, and search every byte written or sent.

A case is made from a number, so that a failing one can be run again: ``python -m tests.planted_secrets 4711``.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import random
import re
import runpy
import string
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from tests.exporters.named_vendors import OTHERS

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "tests" / "programs" / "mishandles_secret.py"
FRAMEWORKS = ("argparse", "click", "typer", "none", "digest", "todo", "units")
OUTCOMES = (
    "success", "exception", "note", "exit text", "exit code", "wrong option", "wrong command", "wrong value", "help",
    "interrupted", "gone", "made class", "framework error", "fields", "names", "later fields",
)  # fmt: skip
MODES = (*["on"] * 5, *["local", "ci"] * 2, "log")  # log costs several times what the others do
MARK = b"telemetry, log mode"
APPS = ("careless", "digest", "todo", "units")
SHORTEST = 8  # bytes of a disguise: of less, some would be found by chance


@dataclass(frozen=True)
class Case:
    """One run of one program. secret: a word that nobody declares, distinctive and different in every case."""

    number: int
    framework: str
    outcome: str
    mode: str
    secret: str

    @property
    def app(self) -> str:
        """The program's name, as it records itself."""
        return self.framework if self.framework in APPS else "careless"


def case(number: int) -> Case:
    """Return the case of this *number*: always the same."""
    chance = random.Random(number)
    letters = "".join(chance.choices(string.ascii_letters + string.digits, k=12))
    return Case(number, chance.choice(FRAMEWORKS), chance.choice(OUTCOMES), chance.choice(MODES), f"Zq{letters}7&é")


def disguises(secret: str) -> list[bytes]:
    """Return how *secret* may look in bytes: plain, JSON, base64, hexadecimal, URL-encoded, hashed unsalted."""
    core = re.sub(r"[^A-Za-z0-9]", "", secret)
    found = set()
    for text in {secret, core, core.lower(), core.upper(), core[::-1]}:
        raw = text.encode()
        found |= {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(text).encode(), quote_plus(text).encode()}
        found.add(text.encode("unicode_escape"))
        for shift in range(3):  # base64 looks different at each of three offsets; the ends depend on the neighbours
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                told = encode(b"\0" * shift + raw)
                found.add(told[(0, 2, 3)[shift] : len(told) - 4])
        for name in ("md5", "sha1", "sha256", "sha512"):
            digest = hashlib.new(name, raw, usedforsecurity=False).digest()
            found |= {digest, digest.hex().encode(), base64.b64encode(digest), digest.hex()[:16].encode()}
        found.add(b"%08x" % zlib.crc32(raw))
    return [one for one in found if len(one) >= SHORTEST]


def hits(secrets: Iterable[str], texts: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return where any of *secrets* is, in any disguise. texts: (where, bytes); gzip is unpacked."""
    starts: dict[bytes, list[bytes]] = {}
    for secret in secrets:
        for look in disguises(secret):
            starts.setdefault(look[:SHORTEST], []).append(look)
    found = []
    for where, text in texts:
        if text[:2] == b"\x1f\x8b":
            text = gzip.decompress(text)
        # One look-up per position, however many disguises there are: a regular expression tries them one by one.
        for at in range(len(text) - SHORTEST + 1):
            start = text[at : at + SHORTEST]
            if start in starts and (seen := [look for look in starts[start] if text.startswith(look, at)]):
                found.append(f"{where}: {max(seen, key=len)!r}")
                break
    return found


def argv(case: Case) -> list[str]:
    """Return what the user types."""
    s = case.secret
    if case.framework == "digest":
        words = {
            "help": ["--help"],
            "wrong command": [s],
            "wrong option": [f"--{s}"],
            "wrong value": ["--algorithm", s],
        }
        return words.get(case.outcome, ["verify", s, "--expect", s] if case.number % 2 else ["make", s, f"{s}.txt"])
    if case.framework == "todo":
        words = {
            "help": ["--help"],
            "wrong command": [s],
            "wrong option": ["add", f"--{s}"],
            "wrong value": ["done", s],
        }
        return words.get(case.outcome, ["--file", f"{s}.txt", "add", s, "--first"])
    if case.framework == "units":
        words = {
            "help": ["--help"],
            "wrong command": [s],
            "wrong option": [f"--{s}"],
            "wrong value": ["convert", s, s, s],
        }
        return words.get(case.outcome, ["convert", "3", "km", "kg" if case.number % 2 else "mi"])
    if case.outcome in ("help", "wrong command", "wrong option", "wrong value"):
        return {
            "help": ["report", "--help"], "wrong command": [s], "wrong option": ["report", f"--{s}={s}"],
            "wrong value": ["report", "--level", s],
        }[case.outcome]  # fmt: skip
    return ["--password", s, "report", f"--to={s}", s]


def start(
    case: Case, folder: Path, address: str, *, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run one case: the secret is the folder's name, the user's, half the environment's, and what is typed.

    folder: for this case alone; the state of all cases is beside it.
    """
    s = case.secret
    work = folder / s
    work.mkdir(parents=True)
    (work / f"{s}.txt").write_text(s)
    (work / s).write_text(s)
    environ = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
    environ.update(dict.fromkeys(("USER", "LOGNAME", "HOSTNAME", "TOKEN", "CARELESS_PASSWORD", "EMAIL", "PROMPT"), s))
    environ.update(
        HOME=str(work), PYTHONPATH=f"{ROOT}", OTEL_USAGE_HOME=str(folder.parent / "state"), OTEL_USAGE_SENDER="none",
        LANG="C.UTF-8", T_FRAMEWORK=case.framework, T_OUTCOME=case.outcome, T_SECRET=s, T_SINK=address,
        OTEL_EXPORTER_OTLP_ENDPOINT=address,
        PYTHONDONTWRITEBYTECODE="1", **{f"{case.app.upper()}_TELEMETRY": "on" if case.mode == "ci" else case.mode},
    )  # fmt: skip
    environ.update({"CI": "1"} if case.mode == "ci" else {}, **(more or {}))
    program = PROGRAM if case.app == "careless" else ROOT / "examples" / f"{case.framework}.py"
    return subprocess.run(
        [sys.executable, str(program), *argv(case)],
        cwd=work,
        env=environ,
        input=s.encode(),
        capture_output=True,
        check=False,
    )


def run(
    cases: Sequence[Case], root: Path, address: str, *, more: dict[str, str] | None = None
) -> list[tuple[str, bytes]]:
    """Run *cases* and return everything that we wrote: file names and contents, and what log mode printed."""
    texts = []
    for one in cases:
        ended = start(one, root / f"case-{one.number}", address, more=more)
        _, mark, printed = ended.stderr.partition(MARK)
        texts.append((f"{one}: log", mark + printed))
    return [*texts, *written(root / "state")]


def written(state: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every file of ours."""
    for path in sorted(state.rglob("*")):
        yield f"name of {path}", str(path.relative_to(state)).encode()
        if path.is_file():
            yield str(path), path.read_bytes()


def recorded(state: Path) -> int:
    """Return how many files of records wait: a case that records nothing proves nothing."""
    return len(list(state.glob("*/1/new/*.traces.jsonl"))) + len(list(state.glob("*/1/local/new/*.traces.jsonl")))


def send(state: Path, address: str, environ: dict[str, str] | None = None, code: str = "") -> None:
    """Send what waits, of every program, to every exporter there is. code: run first in the sender's process."""
    for home in sorted(state.iterdir()):
        if not (home / "1" / "new").is_dir():
            continue
        settings: dict[str, Any] = {
            "app": home.name, "version": "1.0", "consent": "opt-out", "policy": 1, "about": "", "home": str(home),
            "mode": "on", "since_s": 0, "ci": "", "lines": [], "service": False,
            "destinations": {
                "otlp": f"{address}/otlp",
                "ga4": {"endpoint": f"{address}/ga4", "measurement_id": "G-ABCDEFGHIJ", "api_secret": "key"},
                "segment": {"endpoint": f"{address}/segment", "write_key": "key"},
                **{name: {**of.settings, "endpoint": f"{address}/{name}"} for name, of in OTHERS.items()},
            },
        }  # fmt: skip
        settings["schema"] = schema_of(home.name)
        told = {
            **os.environ,
            f"{home.name.upper()}_TELEMETRY": "on",
            "OTEL_USAGE_HOME": str(state),
            "PYTHONPATH": str(ROOT),
        }
        told = {k: v for k, v in told.items() if k not in ("CI", "DO_NOT_TRACK", "PYTEST_CURRENT_TEST")} | (
            environ or {}
        )
        ended = subprocess.run(
            [sys.executable, "-c", f"{code}\nfrom otel_usage.delivery.start import main\nmain({settings!r})"],
            env=told, capture_output=True, check=False,
        )  # fmt: skip
        assert 0 == ended.returncode, ended.stderr.decode()


@lru_cache
def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of one of the programs."""
    from otel_usage.control.host_settings import settings_of

    if name == "careless":
        return dict(runpy.run_path(str(PROGRAM.with_name("mishandles_secret_schema.py")))["SCHEMA"])
    return dict(settings_of(f"{ROOT / 'examples' / name}.py:usage")["schema"])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as there:
        chosen = [case(int(number)) for number in sys.argv[1:]]
        for one in chosen:
            print(one)
        print("\n".join(hits([one.secret for one in chosen], run(chosen, Path(there), ""))) or "nothing found on disk")
