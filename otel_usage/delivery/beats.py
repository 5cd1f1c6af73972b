"""Give a service's heartbeats ids that are made of what they say: one per installation and window, whoever writes it.

Fifty replicas of an installation, and each of their restarts, write the heartbeat of a day. All of these get one id, so that
whoever knows a repetition by its id (Segment, PostHog, the store, a relay with ``--state``) keeps one of them.

FORMAT  ``beats/phase``: seconds of the day (UTC) at which this installation's day begins, as text. Hosts read it, so that the
        heartbeats of many installations do not come at once: see recording/heartbeat.py.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Any

from ..recording.heartbeat import DAY_S, HOUR_S, OF_A_DAY
from ..spool.files import write_whole
from ..spool.layout import BEATS


def phase_of(installation_id: str, app: str) -> int:
    """Return at which second of the day (UTC) the day of this installation's heartbeats begins."""
    return int(_digest(installation_id, f"{app} phase")[:8], 16) % DAY_S


def with_final_ids(span: Mapping[str, Any], installation_id: str, app: str) -> Mapping[str, Any]:
    """Return a heartbeat's *span*, OTLP JSON, with the ids that leave. Raises what a malformed span raises."""
    started_s, which = int(span["startTimeUnixNano"]) // 10**9, str(span["traceId"])[16:]
    if which == OF_A_DAY:
        window = f"day {(started_s - phase_of(installation_id, app)) // DAY_S}"
    else:
        window = f"hour {started_s // HOUR_S} {which}"
    ids = _digest(installation_id, f"{app} {span['name']} {window}")
    return {**span, "traceId": ids[:32], "spanId": ids[32:48]}


def tell_phase(spool: str, installation_id: str, app: str) -> None:
    """Write down, for hosts, when this installation's day begins."""
    folder, phase = os.path.join(spool, BEATS), str(phase_of(installation_id, app))
    path = os.path.join(folder, "phase")
    try:
        with open(path, encoding="ascii") as file:
            if file.read(16).strip() == phase:
                return
    except (OSError, ValueError):
        pass
    try:
        if os.path.isdir(folder):
            write_whole(path, phase.encode() + b"\n")
    except OSError:  # its day begins at midnight, and nothing is worse
        pass


def _digest(installation_id: str, what: str) -> str:
    return hmac.new(installation_id.encode(), what.encode(), "sha256").hexdigest()
