"""Links, other users' folders, file systems without locks, odd homes: nothing of others is touched, nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import Host
from ..users import User

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="plants links as another user")


@pytest.fixture
def docs(user: User) -> Path:
    """A folder of the user's own, with files that look like some of ours."""
    folder = user.tmp / "docs"
    (folder / "1" / "letters").mkdir(parents=True)
    for name in ("thesis.txt", "data.json", "1/letters/first", "1/notes"):
        (folder / name).write_text("mine")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Return {path: content} of all files below *folder*."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("verb", ["off", "forget", "on"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_folder_that_is_the_users_own_link(user: User, docs: Path, verb: str, recorded: bool) -> None:
    """Behind the user's own link only what we made is removed, and the rest is named; recording works there."""
    mine = tree(docs)
    (user.home / "prog").symlink_to(docs)
    if recorded:
        user.prog(PROG_TELEMETRY="on")
        assert 1 == len(user.runs)

    ended = user.ours(verb, "--app", "prog")

    assert (0, b"") == (ended.status, ended.err)
    left = tree(docs)
    assert mine == {name: text for name, text in left.items() if name in mine}
    assert set(left) - set(mine) <= {"consent"} or verb == "on"
    assert (b"thesis.txt" in ended.out) == (verb != "on")
    assert (user.home / "prog").is_symlink()


def test_a_state_directory_on_a_larger_disk(user: User) -> None:
    """``~/.local/state`` as a link (stow, a larger disk): everything works, off included."""
    (user.tmp / "disk").mkdir()
    (user.tmp / "user" / ".local").mkdir()
    (user.tmp / "user" / ".local" / "state").symlink_to(user.tmp / "disk")
    env = {"OTEL_USAGE_HOME": None, "PROG_TELEMETRY": "on"}

    user.prog(**env)

    assert 1 == len(list((user.tmp / "disk" / "otel-usage" / "prog" / "1" / "new").iterdir()))
    assert 0 == user.ours("off", "--app", "prog", OTEL_USAGE_HOME=None).status
    assert ["consent"] == os.listdir(user.tmp / "disk" / "otel-usage" / "prog")


def planted(link: Path, target: Path) -> None:
    """Have another user make *link*."""
    link.symlink_to(target)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)


@AS_ROOT
@pytest.mark.parametrize("where", ["app", "state", "above"])
def test_a_link_that_another_user_has_planted(user: User, docs: Path, where: str) -> None:
    """Nothing behind it is read, written or removed; `status` says why, and off says that it could not be done."""
    before = tree(docs)
    (docs / "prog").mkdir()
    shared = user.tmp / "shared"
    shared.mkdir()
    if where == "app":
        planted(shared / "prog", docs)
    elif where == "state":
        planted(user.tmp / "planted", docs)
        shared = user.tmp / "planted"
    else:
        (docs / "prog").rmdir()
        planted(shared / "more", docs)
        shared = shared / "more" / "state"
    env = {"OTEL_USAGE_HOME": str(shared), "PROG_TELEMETRY": "on"}

    ended = user.prog(**env)
    removed = user.ours("off", "--app", "prog", OTEL_USAGE_HOME=str(shared))
    forgotten = user.ours("forget", "--app", "prog", OTEL_USAGE_HOME=str(shared))
    retired = user.run("import otel_usage\notel_usage.retired('prog')\n", env=env)
    status = user.ours("status", "--app", "prog", **env)

    assert (0, b"") == (ended.status, ended.err)
    assert b"" == retired.err
    assert removed.status == (2 if where == "above" else 1)  # nothing is looked for behind the link: nobody is known
    assert before == tree(docs)
    if where != "above":
        assert b"another user" in status.out
        assert 1 == forgotten.status
        assert b"Traceback" not in removed.err + forgotten.err


def test_a_planted_name_for_a_file_that_is_being_written(user: User) -> None:
    """The names of our temporary files are not followed, if they are links."""
    from otel_usage.spool.files import write_whole

    target = user.tmp / "target"
    target.write_text("mine")
    path = user.tmp / "settings.json"
    (user.tmp / "settings.json.part").symlink_to(target)
    path.symlink_to(target)

    write_whole(str(path), b"ours")

    assert ("mine", "ours", False) == (target.read_text(), path.read_text(), path.is_symlink())


NO_LOCKS = """
import errno, os
def lockf(*_): raise OSError(errno.{}, "no locks")
os.lockf = lockf
"""


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_a_file_system_without_locks(user: User, name: str) -> None:
    """Nothing is left behind, however many runs there are, and `status` says why nothing is recorded."""
    (user.tmp / "site").mkdir()
    (user.tmp / "site" / "sitecustomize.py").write_text(NO_LOCKS.format(name))
    env = {"PYTHONPATH": f"{user.tmp}/site:{user.environ['PYTHONPATH']}", "PROG_TELEMETRY": "on"}

    for _ in range(3):
        ended = user.prog(**env)
        assert (0, b"") == (ended.status, ended.err)
    status = user.ours("status", "--app", "prog", **env)

    assert [] == user.files("open") + user.files("new")
    assert b"can't be locked" in status.out, status


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o027])
def test_whatever_the_umask_our_folders_are_the_users_alone(user: User, mask: int) -> None:
    """XDG's folders, ours and the files in them: 0700 and 0600."""
    env = {"OTEL_USAGE_HOME": None, "PROG_TELEMETRY": "on"}
    source = f"import os\nos.umask({mask})\nimport otel_usage\notel_usage.init('prog', version='1', consent='opt-in')\n"
    user.run(source, env=env)

    made = list((user.tmp / "user").rglob("*"))
    assert 1 == len([p for p in made if p.is_file()])
    assert {0o700} == {p.stat().st_mode & 0o777 for p in made if p.is_dir()}
    assert {0o600} == {p.stat().st_mode & 0o777 for p in made if p.is_file()}


def test_a_folder_debug_in_the_users_directory(host: Host) -> None:
    """A fault of ours is not written into a folder ``debug`` of the directory where the program was called."""
    (host.tmp / "work" / "debug").mkdir()
    source = """
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-in")
usage._recorder._finish = lambda: 1 / 0
"""
    ended = host.run(source, env={"OTEL_USAGE_HOME": None})

    assert b"" == ended.err
    assert [] == os.listdir(host.tmp / "work" / "debug")


HOMES = {
    "no home": {"HOME": "/nonexistent"},
    "a file": {"HOME": "/etc/passwd"},
    "too long": {"OTEL_USAGE_HOME": "/tmp/" + "x" * 300},
    "far too long": {"OTEL_USAGE_HOME": "/tmp" + "/x" * 3000},
    "a device": {"OTEL_USAGE_HOME": "/dev/null"},
    "a folder that can't be written": {"OTEL_USAGE_HOME": "/proc/otel-usage"},
}


@pytest.mark.parametrize("home", HOMES)
def test_where_nothing_can_be_kept(user: User, home: str) -> None:
    """The program runs as without us, nothing is made, and the commands say so without a traceback."""
    env = {"OTEL_USAGE_HOME": None, "PROG_TELEMETRY": "on", **HOMES[home]}

    ended = user.prog(**env)
    commands = [user.ours(verb, "--app", "prog", **env) for verb in ("status", "on", "off", "forget")]

    assert (0, b"") == (ended.status, ended.err)
    assert not os.path.exists("/nonexistent")
    assert not [c for c in commands if b"Traceback" in c.err], commands
    assert commands[0].status == 0


def test_a_quota_that_is_full(user: User) -> None:
    """Where no byte can be written nothing is left but folders, and the program runs as without us."""
    source = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-in")
usage.command("scan")
"""
    ended = user.run(source, env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached"})

    assert (0, b"") == (ended.status, ended.err)
    assert [] == user.files("open") + user.files("new")


@AS_ROOT
@pytest.mark.parametrize("home", ["/root", "/", "read-only"])
def test_a_user_who_may_not_write_there(user: User, home: str) -> None:
    """Another user's home, the root directory, a home that can only be read: nothing is made, nothing is said."""
    folder = user.tmp / "read-only"
    folder.mkdir(mode=0o555)
    code = "import otel_usage; otel_usage.init('prog', version='1', consent='opt-in').command('scan')"
    env = {**user.environ, "PROG_TELEMETRY": "on", "HOME": home if home[0] == "/" else str(folder)}
    env.pop("OTEL_USAGE_HOME")
    for above in (user.tmp, *user.tmp.parents):
        if str(above) not in ("/", "/tmp"):
            above.chmod(0o755)

    ended = subprocess.run(
        ["/usr/bin/env", "-C", "/", sys.executable, "-c", code], env=env, capture_output=True, user=NOBODY, check=False
    )

    if b"Permission denied" in ended.stderr:  # the interpreter itself lies in a folder of root's
        pytest.skip("no interpreter that another user may start")
    assert (0, b"") == (ended.returncode, ended.stderr)
    assert [] == os.listdir(folder)
