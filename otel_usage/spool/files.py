"""Write and list files that other processes read, write and remove at the same time.

RACES
1. A reader looks while a file is written: `write_whole` writes another file and renames it, so that a name has all of its
   content or none. A writer that dies leaves ``<name>.part``, which nobody reads, and which the next sender removes.
2. A folder vanishes while it is listed, because the user has just said off: it counts as empty.
3. A process ends while `list_abandoned` looks at its file: the file is listed or not, and the next look will list it.
"""

from __future__ import annotations

import errno
import os
import stat

from .layout import OPEN, PART


def write_whole(path: str, content: bytes) -> None:
    """Make *path* hold *content*: all of it, and on the disk, or nothing. Raises OSError, and then leaves nothing new."""
    part = path + PART
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL  # a link of that name is not followed
    try:
        descriptor = os.open(part, flags, 0o600)
    except FileExistsError:  # of a writer that died
        os.unlink(part)
        descriptor = os.open(part, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)
    except OSError:
        if os.path.exists(part):
            os.unlink(part)
        raise


def open_plain(path: str, flags: int) -> int:
    """Open *path* if it is a plain file, behind a link or not: the ``opener`` of `open`. Raises OSError, and never waits.

    A pipe or a device in the place of one of our files would keep the reader waiting, or never end.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no plain file", path)


def list_folder(folder: str) -> list[str]:
    """Return the names of what is in *folder*; none if there is no such folder."""
    try:
        return os.listdir(folder)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return []
        raise


def list_files(folder: str) -> list[str]:
    """Return the names of the plain files in *folder*; none if there is no such folder.

    What else may lie there is none of ours, and never looked into: folders of a NAS or a backup program, links, pipes, sockets.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def list_abandoned(spool: str) -> list[str]:
    """Return the names of the files in ``open/`` that nobody holds locked: the processes that wrote them are dead."""
    abandoned = []
    for name in list_files(os.path.join(spool, OPEN)):
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(os.path.join(spool, OPEN, name), flags)
        except OSError:
            continue
        try:
            os.lockf(descriptor, os.F_TEST, 0)
            abandoned.append(name)
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return abandoned
