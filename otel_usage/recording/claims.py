"""Small files of a folder that many processes share: who makes one first does what it stands for.

Loaded by services, and by their senders.

RACES
1. Two processes want to make one file: the system lets one of them.
2. Files go while a folder is listed, or tidied, since another process tidies it too: they count as gone, and nothing fails.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 4096  # of a file that is read


def claim(path: str, text: str) -> bool:
    """True if this process is the first to make the file *path*; it then holds *text*, and a newline. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, text.encode("ascii", "replace") + b"\n")
    finally:
        os.close(descriptor)
    return True


def read_lines(path: str) -> "list[str]":
    """Return the whole lines of a small file; none if it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return []
    try:
        return os.read(descriptor, MAX_BYTES).decode("ascii", "replace").split("\n")[:-1]
    except OSError:
        return []
    finally:
        os.close(descriptor)


def read_line(path: str) -> str:
    """Return the first line of a small file; "" if it can't be read."""
    return (read_lines(path) or [""])[0]


def list_oldest_first(folder: str, beginnings: "tuple[str, ...]") -> "list[str]":
    """Return the names in *folder* that begin with one of *beginnings*, by when they were changed. Raises OSError."""
    dated = []
    for name in os.listdir(folder):
        if name.startswith(beginnings):
            try:
                dated.append((os.stat(f"{folder}/{name}").st_mtime_ns, name))
            except FileNotFoundError:
                continue
    return [name for _, name in sorted(dated)]


def remove_all(folder: str, names: "Iterable[str]") -> None:
    """Remove the files *names* of *folder*. Raises OSError."""
    for name in names:
        try:
            os.unlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue
