"""Make the folders of the spool, say whose they are, and keep them small where no sender can be started.

Loaded by an installation's first run, where a folder is not plainly the user's, and where records wait for good.

Where several users may write (a shared OTEL_USAGE_HOME, HOME=/tmp), another one may have put a link into our place. It is
not followed: a link counts if the user made it, or root did, as who moves the state to a larger disk does.
"""

import os

from ..spool.layout import HIDDEN, NEW, OPEN, TRACES, TRIMMED

# Process 1 of a machine, not of a container.
INITS = (b"systemd", b"init", b"openrc-init", b"runit", b"s6-svscan", b"dinit")
MAX_WAITING = (
    10_000  # files in new/, and those of dead processes in open/, where no sender can be started, or none works
)


def make_parents(home: str) -> bool:
    """Make what is missing above *home*, and return True; False, having made nothing, where it would not be the user's.

    Under ``sudo`` with the user's HOME, folders of ours would be root's, and lock the user out. A HOME that does not exist
    is one that shall not. Every folder is 0700, as XDG wants it, whatever the umask. Raises OSError.
    """
    above, missing = os.path.dirname(home), []
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    if os.geteuid() == 0 and os.stat(above).st_uid != 0:
        return False
    if os.path.expanduser("~") in missing or not _is_free_of_strangers_links(above):
        return False
    for path in reversed(missing):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    return True


def is_users(home: str) -> bool:
    """True if *home* is a folder of this user, and reached by no link that another one made.

    Raises FileNotFoundError, and other OSErrors.
    """
    if not _is_free_of_strangers_links(home, 2):
        return False
    status = os.stat(home)
    return status.st_uid == os.geteuid() and status.st_mode & 0o170000 == 0o040000


def _is_free_of_strangers_links(path: str, depth: int = 64) -> bool:
    """True if none of the last *depth* folders of *path* is a link that neither this user nor root has made."""
    while depth and path not in ("", "/"):
        status = os.lstat(path)
        if status.st_mode & 0o170000 == 0o120000 and status.st_uid not in (0, os.geteuid()):
            return False
        path, depth = os.path.dirname(path), depth - 1
    return True


def make_spool(home: str, spool: str) -> None:
    """Make *home*, the *spool* in it, and the folders in that. Raises OSError."""
    # open/ last: whoever finds it there counts on all the others.
    for path in (home, os.path.dirname(spool), spool, f"{spool}/{NEW}", f"{spool}/{OPEN}"):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass


def trim(spool: str, most: int = MAX_WAITING) -> None:
    """Drop the oldest waiting records beyond *most*: no sender will. File names sort by time. Raises OSError.

    How many spans and data points that were is written down, for the next sender that works: see delivery/losses.py.
    """
    names = sorted(os.listdir(f"{spool}/{NEW}"))
    _drop(spool, NEW, names[: max(0, len(names) - most)])


def trim_left(spool: str, own: str) -> None:
    """Drop the oldest files of ``open/`` beyond `MAX_WAITING` whose processes are dead: no sender has come. Raises OSError.

    own: the name of this process's file, which is not opened: closing it would let go of its lock.
    """
    names = os.listdir(f"{spool}/{OPEN}")
    if len(names) > MAX_WAITING:
        oldest = [name for name in sorted(names) if name != own and not name.startswith(HIDDEN)]
        _drop(spool, OPEN, oldest[: len(names) - MAX_WAITING])


def _drop(spool: str, place: str, names: "list[str]") -> None:
    """Remove the files *names* of the folder *place*, and write down what they held; not those of processes that live."""
    dropped = 0
    for name in names:
        path = f"{spool}/{place}/{name}"
        try:
            flags = os.O_RDWR if place == OPEN else os.O_RDONLY
            descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if place == OPEN:
                    os.lockf(descriptor, os.F_TEST, 0)
                content = os.read(descriptor, 4_194_304)
            finally:
                os.close(descriptor)
            os.unlink(path)
        except OSError:  # a folder, another program's doing, or a process that lives
            continue
        dropped += max(content.count(b'"spanId":' if name.endswith(TRACES) else b'"timeUnixNano":'), 1)
    if dropped:
        descriptor = os.open(f"{spool}/{TRIMMED}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"%d\n" % dropped)
        finally:
            os.close(descriptor)


def ends_with_process_1() -> bool:
    """True if this process, a child of process 1, ends with a container or a systemd unit, and its children with it."""
    # INVOCATION_ID: of a unit; sessions have it too, but their processes are no children of process 1.
    return "INVOCATION_ID" in os.environ or not is_process_1_a_machines()


def is_process_1_a_machines() -> bool:
    """True if process 1 is a machine's init, or this is no Linux, and so no container; False in a container."""
    try:
        descriptor = os.open("/proc/1/comm", os.O_RDONLY)
    except OSError:
        return True
    try:
        return os.read(descriptor, 64).strip() in INITS
    finally:
        os.close(descriptor)
