"""The random, resettable id of one installation.

Ring 1 (background): made by the sender when consent first allows sending; the spool holds no identifier.
"""

from __future__ import annotations

import os
import time
import uuid

ROTATE_DAYS = 365


def installation_id(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> str:
    """Return the id kept in *folder*, a new one if there is none or it is older than *rotate_days*.

    Shape of the file ``id``: ``<UUID version 4> <Unix seconds of its making>``, one line, mode 0600.
    Never fails for lack of a writable folder: then the id lives as long as this process.
    Concurrency: of two makers one wins, and both return its id.
    """
    now = int(time.time() if now_s is None else now_s)
    path = os.path.join(folder, "id")
    kept = _read(path)
    if kept is not None and now - kept[1] < rotate_days * 86_400:
        return kept[0]
    made = str(uuid.uuid4())
    part = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(f"{made} {now}\n")
        if kept is None:
            try:
                os.link(part, path)  # fails if another process was first
            except FileExistsError:
                made = (_read(path) or (made, now))[0]
            except OSError:  # no hard links here
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
    return made


def kept_id(folder: str, *, now_s: float | None = None, rotate_days: int = ROTATE_DAYS) -> str | None:
    """Return the id kept in *folder*, None if there is none that would still be used. Makes nothing."""
    kept = _read(os.path.join(folder, "id"))
    now = time.time() if now_s is None else now_s
    return kept[0] if kept is not None and now - kept[1] < rotate_days * 86_400 else None


def _read(path: str) -> tuple[str, int] | None:
    try:
        with open(path, encoding="ascii") as file:
            text, _, made = file.read(128).partition(" ")
        return str(uuid.UUID(text)), int(made)
    except (OSError, ValueError):
        return None
