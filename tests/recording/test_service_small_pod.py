"""A service in a small pod: without rights, without room, without processes: it works, or says once why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import Host, until
from ..spools import Sink

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
CAN_UNSHARE = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-pmf", "--mount-proc", "true"], capture_output=True, check=False).returncode == 0
)
SOURCE = """
import binascii, mmap, os, resource, sys, threading, time  # all now: the interpreter may lie in another user's folder
import otel_usage
{before}
usage = otel_usage.init("prog", version="1", consent="opt-in", service=True, destinations={{}}, flush_s=3600,
                        schema={{"n": {{"kind": "count", "why": "x"}}, "did": {{"why": "x"}}}})
for i in range(100):
    usage.count("n"); usage.action("did")
usage.flush()
print(threading.active_count(), flush=True)
sys.exit(3)
"""


def run(host: Host, before: str = "", prefix: tuple[str, ...] = (), **env: str) -> tuple[int, bytes, bytes]:
    host.command(SOURCE.format(before=before), ())
    command = [*prefix, sys.executable, "-W", "error", str(host.tmp / "work" / "host.py")]
    ended = subprocess.run(
        command, env={**host.environ, **env}, capture_output=True, check=False, start_new_session=True, timeout=60
    )
    return ended.returncode, ended.stdout, ended.stderr


def counted(host: Host) -> int:
    return sum(n for (name, _), n in host.counts.items() if name == "usage.count.n")


def test_no_thread_can_be_started(host: Host) -> None:
    """A limit on the size of memory that leaves no room for a stack: the calls do what is due."""
    before = "threading.stack_size(512 * 1024 * 1024)\nresource.setrlimit(resource.RLIMIT_AS, (400 * 1024 * 1024,) * 2)"
    status, out, err = run(host, before)

    assert (3, b"1\n", 1) == (status, out, err.count(b"\n")), err
    assert 100 == counted(host)


@ROOT_ONLY
def test_no_process_can_be_started(host: Host) -> None:
    """An unprivileged user at the limit on processes: nothing is sent, everything is kept, nothing is said but the one line."""
    user = 54_321
    before = f"os.setgid({user}); os.setuid({user})\nresource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
    for path in (host.home, *host.home.rglob("*")):
        os.chown(path, user, user)
    for path in (host.tmp, *list(host.tmp.parents)[:-2]):
        if os.stat(path).st_mode & 0o005 != 0o005 and str(path).startswith("/tmp"):
            os.chmod(path, os.stat(path).st_mode | 0o055)
    status, _, err = run(host, before, OTEL_USAGE_SENDER="", OTEL_USAGE_SEND_DELAY_S="0")

    assert (3, 1) == (status, err.count(b"\n")), err
    assert b"usage data is on" in err
    assert 100 == counted(host)


@pytest.mark.skipif(not CAN_UNSHARE, reason="no namespaces here")
def test_sixty_four_processes_and_mebibytes(host: Host) -> None:
    """As process 1, with room for no more in each of its processes: it records, and its sender sends."""
    source = SOURCE.format(
        before="resource.setrlimit(resource.RLIMIT_AS, (64 * 1024 * 1024,) * 2)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))"
    )
    sink = Sink()
    source = source.replace("destinations={}", f"destinations={{'otlp': {sink.address!r}}}").replace(
        "sys.exit(3)", "sys.stdin.read()\nos._exit(3)"
    )
    command = ["unshare", "-pmf", "--mount-proc", *host.command(source, ())]
    env = {**host.environ, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "0"}
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(lambda: sink.points().get(("usage.count.n", "")) == 100, 60)
        until(lambda: [span["name"] for span in sink.spans()].count("did") == 100, 60)
        _, err = process.communicate(b"", 20)
    finally:
        process.kill()
        sink.close()

    assert (3, 1) == (process.returncode, err.count(b"\n")), err


@ROOT_ONLY
@pytest.mark.skipif(not CAN_UNSHARE, reason="no namespaces here")
def test_a_read_only_disk(host: Host, tmp_path: Path) -> None:
    """The log says why nothing is recorded, once; the service goes on."""
    script = tmp_path / "ro.sh"
    script.write_text(
        f'mount --bind "{host.home}" "{host.home}" && mount -o remount,bind,ro "{host.home}" && exec "$@"\n'
    )
    ended = run(host, "", ("unshare", "-pmf", "--mount-proc", "sh", str(script)))

    assert 3 == ended[0], ended[2]
    assert 1 == ended[2].count(b"\n"), ended[2]
    assert b"but none is recorded" in ended[2]
    assert b"Read-only file system" in ended[2]


def test_without_a_home(host: Host) -> None:
    """No home folder, and none that can be made: it says so."""
    status, _, err = run(host, OTEL_USAGE_HOME="/proc/none")

    assert (3, 1) == (status, err.count(b"\n")), err
    assert b"but none is recorded" in err
    assert b"OTEL_USAGE_HOME" in err
