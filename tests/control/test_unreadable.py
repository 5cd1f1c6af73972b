"""The commands where the program's folder can't be read: a sentence that says why, and no traceback."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from otel_usage.control.commands import VERBS

from ..users import User

NOBODY = 65534
# Becomes nobody only once all is imported: the interpreter itself may lie where nobody may not look.
AS_NOBODY = """
import contextlib, importlib, io, json, os, pkgutil, sys, traceback
for name in ("consent", "control", "delivery", "recording", "schema", "settings", "spool"):
    package = importlib.import_module("otel_usage." + name)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"otel_usage.{name}.{module.name}")
from otel_usage.cli import main
main(["status", "--app", "prog", "--json"])
sys.stdout.write("\\0")
sys.stdout.flush()
os.setgid(65534), os.setuid(65534)
answers = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except BaseException:
            status = traceback.format_exc()
    answers.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def as_nobody(user: User, *commands: Sequence[str]) -> list[tuple[int, str, str]]:
    """Run ``otel-usage`` as the user who owns nothing; return exit code, stdout and stderr of each command."""
    ended = user.run("-c", AS_NOBODY, json.dumps(commands))
    return [tuple(answer) for answer in json.loads(ended.out.partition(b"\0")[2])]


def anothers(user: User) -> None:
    """Root's, as after a sudo; the command is nobody's."""
    user.folder.chmod(0o700)


def anothers_ledger(user: User) -> None:
    for path in (user.folder, user.spool):
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o700)
    (user.folder / "ledger.jsonl").chmod(0o600)


def unreadable_queue(user: User) -> None:
    anothers_ledger(user)
    os.chown(user.folder / "ledger.jsonl", NOBODY, NOBODY)
    (user.spool / "queue" / "otlp").mkdir(parents=True)
    (user.spool / "queue").chmod(0o700)


def a_file(user: User) -> None:
    shutil.rmtree(user.folder)
    user.folder.write_text("")


def a_dangling_link(user: User) -> None:
    shutil.rmtree(user.folder)
    user.folder.symlink_to(user.home / "nowhere")


CASES = [anothers, anothers_ledger, unreadable_queue, a_file, a_dangling_link]


@pytest.fixture
def stored() -> Iterator[User]:
    """A user whose program has recorded, and sent something once. In a folder that everybody may reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        user = User(Path(folder))
        user.choose("on")
        (user.spool / "new").mkdir(parents=True)
        entry = {"time": 1, "destination": "otlp", "signal": "traces", "records": 1, "result": "sent", "status": 200}
        (user.folder / "ledger.jsonl").write_text(json.dumps({**entry, "dropped": {}}) + "\n")
        yield user


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("case", CASES)
def test_no_command_shows_a_traceback(stored: User, case: Callable[[User], None]):
    """0 or 1; what can't be done is said on stderr in one line, and status gives the reason on stdout."""
    case(stored)

    verbs = sorted(VERBS, key=("history", "status").__contains__, reverse=True)  # before off removes it all
    answers = as_nobody(stored, *[(verb, "--app", "prog") for verb in verbs])

    for verb, (status, _, err) in zip(verbs, answers, strict=True):
        assert status in (0, 1), (verb, status, err)
        assert err.count("\n") == (1 if status else 0), (verb, err)
    of_verb = dict(zip(verbs, answers, strict=True))
    for text in (of_verb["status"][1], of_verb["history"][2]):
        assert "can't be read" in text or " is not a folder" in text or "a link to what is not there" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_what_could_not_be_looked_into_is_not_called_empty(stored: User):
    """Neither in the report nor in the list of all programs."""
    anothers(stored)

    one, listed = as_nobody(stored, ("status", "--app", "prog", "--json"), ("status",))

    assert not json.loads(one[1])["readable"]
    assert "Permission denied: look at who owns it" in json.loads(one[1])["reason"]
    assert (0, "") == (listed[0], listed[2])
    assert ["prog", "off", "not", "known"] == listed[1].splitlines()[1].split()[:4]


def test_a_damaged_ledger_is_read_as_far_as_it_can_be(stored: User):
    """Lines that are none, or not text at all, are passed over."""
    with open(stored.folder / "ledger.jsonl", "ab") as file:
        file.write(b"3\n\xff\xfe\n{}\n[1]\n")

    ended = stored.ours("history", "--app", "prog")

    assert (0, b"") == (ended.status, ended.err)
    assert b"otlp" in ended.out


@pytest.mark.parametrize("verb", ["status", "history", "schema"])
def test_an_answer_that_can_not_be_written(stored: User, verb):
    """A full disk behind stdout is named: 1, one line, no traceback."""
    with open("/dev/full", "wb") as full:
        process = stored.start("-m", "otel_usage", verb, "--app", "prog", stdout=full)
        err = process.communicate()[1]

    assert 1 == process.returncode
    assert 1 == err.count(b"\n"), err
    assert b"Traceback" not in err
