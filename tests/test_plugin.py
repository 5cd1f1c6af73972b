"""otel_usage.testing in a host's own test suite: what it captures, what it refuses, and that nothing is sent."""

from __future__ import annotations

import os
import subprocess
import sys

from .users import Sink, User, senders

HOST = """
import otel_usage
usage = otel_usage.init(
    "prog", version="1", consent="opt-in", destinations={"otlp": "http://127.0.0.1:9"},
    schema={
        "report.upload": {"why": "x", "fields": {"format": ["pdf", "html"], "size": otel_usage.bucket("MB", 1, 10)}},
        "lines": {"kind": "count", "why": "x"},
        "config.invalid": {"kind": "error", "why": "x"},
    },
)
def upload(format):
    with usage.command("upload"), usage.action("report.upload", format=format) as action:
        action.set(size=3)
    usage.count("lines", 2)
    usage.count("lines", 3)
"""


def suite(user: User, tests: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a host's tests in a pytest of their own."""
    folder = user.tmp / "suite"
    folder.mkdir(exist_ok=True)
    (folder / "host.py").write_text(HOST)
    (folder / "test_host.py").write_text(
        "import pytest\nimport otel_usage\nimport host\nfrom otel_usage.testing import *\n" + tests
    )
    environ = {**user.environ, "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0", **env}
    if options != ("installed",):  # other plugins take their time
        environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        options = ("-p", "otel_usage.testing")
    else:
        options = ("-p", "no:xdist")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_is_recorded_can_be_captured_and_asserted(user: User):
    """`captured`, its fixture and `assert_event` see actions, counts and commands as they would be written."""
    ended = suite(
        user,
        """
def test_context():
    with captured() as events:
        host.upload("pdf")
    assert_event(events, "report.upload", times=1, format="pdf", size="1-10 MB")
    assert 5 == assert_event(events, "lines").n
    assert ["upload"] == events.commands

def test_fixture(captured_usage):
    host.usage.error("config.invalid")
    event = assert_event(captured_usage, "config.invalid")
    assert ("error", True, 1) == (event.kind, event.failed, len(captured_usage))
""",
        "installed",
    )

    assert 0 == ended.returncode, ended.stdout
    assert [] == user.kept


def test_an_event_that_is_missing_fails_and_lists_what_there_is(user: User):
    """The failure names what was looked for and what was recorded."""
    ended = suite(
        user,
        """
def test_it(captured_usage):
    host.upload("pdf")
    assert_event(captured_usage, "report.upload", format="html")
""",
    )

    assert 1 == ended.returncode
    assert "report.upload {'format': 'html'} was not recorded" in ended.stdout
    assert "action report.upload {'format': 'pdf', 'size': '1-10 MB'}" in ended.stdout


def test_times_0_asserts_that_there_is_none(user: User):
    """It passes where nothing of the kind was recorded, and says what was where something was."""
    ended = suite(
        user,
        """
def test_none(captured_usage):
    host.upload("pdf")
    assert 0 == assert_event(captured_usage, "config.invalid", times=0).n
    assert_event(captured_usage, "report.upload", times=0, format="html")

def test_one(captured_usage):
    host.upload("pdf")
    assert_event(captured_usage, "report.upload", times=0)
""",
    )

    assert "1 failed, 1 passed" in ended.stdout, ended.stdout
    assert "report.upload was recorded 1 times, not 0; recorded was:" in ended.stdout
    assert "action report.upload {'format': 'pdf', 'size': '1-10 MB'}" in ended.stdout


CALLS = [
    "usage.action('nope')",
    "usage.action('report.upload', format='exe')",
    "usage.count('lines', word='x')",
    "upload('docx')",
]


def test_what_is_undeclared_is_an_error_in_the_hosts_tests(user: User):
    """An undeclared name, field or value raises where it is recorded, captured or not."""
    tests = "".join(
        f"def test_{n}_{fixture}({fixture}):\n    with pytest.raises(otel_usage.SettingError):\n        host.{call}\n"
        for fixture in ("", "captured_usage")
        for n, call in enumerate(CALLS)
    )

    ended = suite(user, tests)

    assert f"{2 * len(CALLS)} passed" in ended.stdout, ended.stdout


def test_a_real_send_in_a_test_is_an_error(user: User, sink: Sink):
    """Where the developer's environment says on, a test that would start a sender fails, and none is started."""
    ended = suite(user, "def test_it():\n    host.upload('pdf')\n    host.usage.flush()\n", PROG_TELEMETRY="on")

    assert 1 == ended.returncode
    assert "about to send usage data for real" in ended.stdout
    assert [] == senders(user)
    assert [] == user.kept


def test_programs_that_tests_start_send_nothing(user: User):
    """A child process inherits that nothing is sent and where nothing of the user's own is touched."""
    ended = suite(
        user,
        """
import subprocess, sys
def test_it():
    subprocess.run([sys.executable, "-c", "import host; host.upload('pdf')"], check=True)
""",
        PROG_TELEMETRY="on",
    )

    assert 0 == ended.returncode, ended.stdout
    assert [] == senders(user)
    assert [] == user.kept


def test_verify_is_a_fixture(user: User):
    """``verify_off`` passes where off is off, and fails where it is not, or where a test runner alone keeps it off."""
    ended = suite(
        user,
        """
import sys
@pytest.mark.parametrize(("name", "word"), [("PROG_TELEMETRY", "off"), ("PROG_TELEMETRY", "on"), ("PRGO_TELEMETRY", "off")])
def test_it(verify_off, name, word):
    verify_off([sys.executable, "-c", "import host"], env={name: word}, strace=None)

def test_nothing(verify_off):
    verify_off([sys.executable, "-c", "import nosuchmodule"], env={"PROG_TELEMETRY": "off"}, strace=None)

def test_default(verify_off):
    verify_off([sys.executable, "-c", "import host"], strace=None, default=True)
""",
    )

    assert "3 failed, 2 passed" in ended.stdout, ended.stdout
    assert 2 == ended.stdout.count("E       Failed: off is NOT off")
    assert "PROG_TELEMETRY=off would" in ended.stdout
    assert "No module named 'nosuchmodule'" in ended.stdout


def test_without_init_there_is_nothing_to_capture(user: User):
    """`captured` before `init` says what to do."""
    code = "from otel_usage.testing import captured\nwith captured(): pass"

    ended = subprocess.run([sys.executable, "-c", code], env=user.environ, capture_output=True, text=True, check=False)

    assert "import the module that calls it first" in ended.stderr


def test_the_session_leaves_the_environment_as_it_was(user: User):
    """What the plugin sets for the session is gone after it."""
    code = "import os, pytest; before = dict(os.environ); pytest.main(['-q', '-p', 'no:cacheprovider'])\n"
    code += "assert before == dict(os.environ)"
    environ = {**user.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "", "OTEL_USAGE_SENDER": "detached"}

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=user.tmp, env=environ, capture_output=True, text=True, check=False
    )

    assert "" == ended.stderr
    assert os.path.exists(user.home)
