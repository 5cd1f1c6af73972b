"""Roll events up: a row per day and installation, and counts of runs per day. They outlive the events.

ALGORITHM
  1. ``received`` ascends from commit to commit, so ``meta`` need only hold how far the rollups have come.
  2. One transaction adds what was received since, in whatever order it happened, to the rows of the days it is about, and
     moves that mark. So an event counts once, whenever the process dies, and one that comes late goes to the day it is of.
RACES
  1. The writer commits meanwhile: the transaction sees what was committed before it began, and takes the mark from that.
  2. Events are removed meanwhile: by nobody, as `Store.maintenance` is held; and retention leaves what is above the mark.
"""

from __future__ import annotations

import duckdb

from .migrations import read_meta, write_meta
from .transaction import transaction

MARK = "rolled_up_us"
_LATEST = ("version", "ci", "agent", "surface", "os", "os_version", "arch", "runtime", "runtime_version", "first_week")
_NEW = "received > make_timestamp($low) AND received <= make_timestamp($high)"


def _merge_installations() -> str:
    latest = ", ".join(f'arg_max(e."{name}", e."at") AS "{name}"' for name in _LATEST)
    later = ", ".join(f'"{name}" = CASE WHEN s.seen >= t.seen THEN s."{name}" ELSE t."{name}" END' for name in _LATEST)
    columns = ("app", "day", "installation", *_LATEST, "runs", "failures", "seen")
    return f"""
        MERGE INTO installation_days AS t USING (
            SELECT e.app, e."at"::DATE AS day, e.installation, {latest},
                count(*) FILTER (e.kind = 'run') AS runs,
                count(*) FILTER (e.kind = 'run' AND e.outcome = 'failure') AS failures,
                max(e."at") AS seen
            FROM events AS e WHERE {_NEW} AND e.installation IS NOT NULL AND NOT e.ephemeral
            GROUP BY e.app, e."at"::DATE, e.installation
        ) AS s ON t.day BETWEEN $first AND $last AND t.app = s.app AND t.day = s.day AND t.installation = s.installation
        WHEN MATCHED THEN UPDATE SET {later}, runs = t.runs + s.runs, failures = t.failures + s.failures,
            seen = greatest(t.seen, s.seen)
        WHEN NOT MATCHED THEN INSERT ({", ".join(f'"{name}"' for name in columns)})
            VALUES ({", ".join(f's."{name}"' for name in columns)})
    """


_MERGE_RUNS = f"""
    MERGE INTO run_days AS t USING (
        SELECT e.app, e."at"::DATE AS day, e.name, e.version, e.outcome, e.ci, e.agent <> '' AS agent, e.surface,
            CASE WHEN e.duration_us < 2 THEN 0 ELSE floor(log2(e.duration_us))::INTEGER END AS bucket, count(*) AS runs
        FROM events AS e WHERE {_NEW} AND e.kind = 'run'
        GROUP BY ALL
    ) AS s ON t.day BETWEEN $first AND $last AND t.app = s.app AND t.day = s.day AND t.name = s.name
        AND t.version = s.version AND t.outcome = s.outcome AND t.ci = s.ci AND t.agent = s.agent
        AND t.surface = s.surface AND t.bucket = s.bucket
    WHEN MATCHED THEN UPDATE SET runs = t.runs + s.runs
    WHEN NOT MATCHED THEN INSERT (app, day, name, version, outcome, ci, agent, surface, bucket, runs)
        VALUES (s.app, s.day, s.name, s.version, s.outcome, s.ci, s.agent, s.surface, s.bucket, s.runs)
"""
_MERGE_INSTALLATIONS = _merge_installations()


def roll_up(cursor: duckdb.DuckDBPyConnection) -> int:
    """Add to the rollups what was received since; return how many events that were. The caller holds ``maintenance``."""
    with transaction(cursor):
        low = int(read_meta(cursor, MARK) or 0)
        row = cursor.execute(
            'SELECT epoch_us(max(received)), min("at")::DATE, max("at")::DATE, count(*) FROM events AS e '
            "WHERE received > make_timestamp($low)",
            {"low": low},
        ).fetchone()
        if not row or not row[3]:
            return 0
        parameters = {"low": low, "high": row[0], "first": row[1], "last": row[2]}
        cursor.execute(_MERGE_INSTALLATIONS, parameters)
        cursor.execute(_MERGE_RUNS, parameters)
        write_meta(cursor, MARK, str(row[0]))
    return int(row[3])
