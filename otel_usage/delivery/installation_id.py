"""The random, resettable id of one installation.

FORMAT  ``id`` in the app's folder: ``<UUID version 4> <Unix seconds at which it was generated>``, one line, mode 0600. In the
        background only: the host neither reads nor writes it, and no record in the spool holds an identifier.
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

from ..spool.files import open_plain
from ..spool.layout import ID

ROTATE_DAYS = 365


def obtain_installation_id(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> str:
    """Return the id in *folder*; generate one if there is none, or it is older than *rotate_days*.

    Never fails for lack of a writable folder: then the id lives as long as this process.
    """
    now = int(time.time() if now_s is None else now_s)
    path = os.path.join(folder, ID)
    stored = _read(path)
    if stored is not None and now - stored[1] < rotate_days * 86_400:
        return stored[0]
    new_id = str(uuid.uuid4())
    part = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(f"{new_id} {now}\n")
        if stored is None:
            try:
                os.link(part, path)
            except FileExistsError:  # another process was first
                new_id = (_read(path) or (new_id, now))[0]
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
    return new_id


def read_installation_id(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> str | None:
    """Return the id in *folder*, None if there is none that would still be used. Writes nothing."""
    stored = _read(os.path.join(folder, ID))
    now = time.time() if now_s is None else now_s
    return stored[0] if stored is not None and now - stored[1] < rotate_days * 86_400 else None


def _read(path: str) -> tuple[str, int] | None:
    """Return (id, when it was generated); None if the file holds none."""
    try:
        with open(path, encoding="ascii", opener=open_plain) as file:
            text, _, generated_s = file.read(128).partition(" ")
        return str(uuid.UUID(text)), int(generated_s)
    except (OSError, ValueError):
        return None
