"""Whatever lies in place of the stored choice, the program does not wait for it, and it is an off."""

import os
import socket

import pytest


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


ODD = {
    "a pipe": os.mkfifo,
    "a pipe behind a link": lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")),
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a device that is empty": lambda path: path.symlink_to("/dev/null"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a folder": os.mkdir,
    "a socket": a_socket,
    "a link to itself": lambda path: path.symlink_to(path),
    "a terminal's other side": lambda path: path.symlink_to("/dev/ptmx"),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("mode", [None, "on"])
def test_nothing_waits_for_it(user, what, mode, monkeypatch):
    """The program, even with an explicit on, and `status` beside it; a sender that asks the gate too."""
    user.folder.mkdir()
    monkeypatch.chdir(user.folder)
    ODD[what](user.folder / "consent")
    before = user.kept

    ended = user.run(
        "import otel_usage\notel_usage.init('prog', version='1', consent='opt-out')\n", env={"PROG_TELEMETRY": mode}
    )
    status = user.ours("status", "--app", "prog", PROG_TELEMETRY=mode)

    assert (0, b"", 0) == (ended.status, ended.err, status.status), status.err
    assert b"telemetry is off" in status.out
    assert before == user.kept
