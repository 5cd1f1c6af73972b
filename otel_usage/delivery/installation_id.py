"""The random, resettable id of one installation.

FORMAT  ``id`` in the app's folder: ``<UUID version 4> <Unix seconds at which it was generated>``, one line, mode 0600. An id
        that took the place of one that had become too old is followed by the seconds at which the first was generated:
        the installation is no new one. In the background only: the host neither reads nor writes it, and no record in the
        spool holds an identifier.
ALGORITHM
1. The first sending that consent allows generates the id; so does the first one after it was `ROTATE_DAYS` old or was removed
   (``reset-id``).
2. The id is written to a file of this process's own, which is then linked to its name: a link fails if the name is taken.
RACE    Two processes may generate an id at once: an exporter may run in a program that has no sender. Only one of them can
        link, and the other one reads, and returns, the id of the first. Where an old id is replaced the later one wins: then
        a single sending may have gone out under an id that nobody will see again, as if it had been reset twice.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import NamedTuple

from ..spool.files import open_plain
from ..spool.layout import ID

ROTATE_DAYS = 365


class Installation(NamedTuple):
    """An installation's id, and since when the installation has been there, in Unix seconds."""

    id: str
    first_s: float


def obtain_installation_id(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> str:
    """Return the id in *folder*; generate one if there is none, or it is older than *rotate_days*."""
    return obtain_installation(folder, now_s=now_s, rotate_days=rotate_days).id


def obtain_installation(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> Installation:
    """Return the installation of *folder*; generate its id if there is none, or it is older than *rotate_days*.

    Never fails for lack of a writable folder: then the id lives as long as this process.
    """
    now = int(time.time() if now_s is None else now_s)
    path = os.path.join(folder, ID)
    stored = _read(path)
    if stored is not None and now - stored[1] < rotate_days * 86_400:
        return Installation(stored[0], stored[2])
    new_id, first_s = str(uuid.uuid4()), now if stored is None else stored[2]
    part = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(f"{new_id} {now}\n" if first_s == now else f"{new_id} {now} {first_s}\n")
        if stored is None:
            try:
                os.link(part, path)
            except FileExistsError:  # another process was first
                new_id, _, first_s = _read(path) or (new_id, now, first_s)
            except OSError:  # a file system without hard links
                os.rename(part, path)
        else:
            os.rename(part, path)
    except OSError:
        pass
    finally:
        try:
            os.unlink(part)
        except OSError:
            pass
    return Installation(new_id, first_s)


def read_installation_id(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> str | None:
    """Return the id in *folder*, None if there is none that would still be used. Writes nothing."""
    installation = read_installation(folder, now_s=now_s, rotate_days=rotate_days)
    return installation.id if installation is not None else None


def read_installation(
    folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS
) -> Installation | None:
    """Return the installation of *folder*, None if it has no id that would still be used. Writes nothing."""
    stored = _read(os.path.join(folder, ID))
    now = time.time() if now_s is None else now_s
    return Installation(stored[0], stored[2]) if stored is not None and now - stored[1] < rotate_days * 86_400 else None


def is_new(folder: str) -> bool:
    """True if *folder* has never had an id since the last reset; one that is too old is of the same installation."""
    return _read(os.path.join(folder, ID)) is None


def _read(path: str) -> tuple[str, int, int] | None:
    """Return (id, when it was generated, when the installation's first was); None if the file holds none."""
    try:
        with open(path, encoding="ascii", opener=open_plain) as file:
            text, generated_s, *first = file.read(128).split()
        seconds = int(generated_s)
        return str(uuid.UUID(text)), seconds, min(int(first[0]), seconds) if first else seconds
    except (OSError, ValueError):
        return None
