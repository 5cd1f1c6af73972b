"""How long each question takes, with the period before it and all sentences, over ten million events; and what is on the disk.

    .venv/bin/python -m tests.bench.questions [EVENTS [FOLDER]]

Fills a store of `otel-usage serve` under FOLDER (default build/questions), by its own tables, limits and rollups, with a
generated year, copied with other ids until there are EVENTS; asks each question for the last 28 days and for the whole year,
three times each; and removes the store. Wall time is the median. CPU seconds depend less on what else the machine does.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from otel_usage.serve.questions import DUCKDB, QUESTIONS, Filters, answer, declared_questions
from otel_usage.serve.questions.sample_year import COLUMNS, SCHEMA, rows
from otel_usage.serve.store.store import Store
from tests.hosts import ROOT
from tests.serve.questions.databases import insert

END = date(2026, 11, 26)
COPIES, DAYS, EVENTS_OF_ONE = 20, 365, 46  # copies of a generated year, which has so many events per installation
LIMIT_S = 1.0
NEW = {  # what differs in the n-th copy
    "installation": "CASE WHEN installation IS NULL THEN NULL ELSE "
    "(lpad(to_hex(n), 2, '0') || substr(CAST(installation AS VARCHAR), 3))::UUID END",
    "at": '"at" + to_seconds(n)',
    "received": "received + to_seconds(n)",
    "event": "hash(event, n)",
}


def quoted(name: str) -> str:
    """Return a column's name as SQL."""
    return f'"{name}"'


def fill(store: Store, events: int) -> None:
    """Store a year of about so many events, month by month, as they would come; and roll them up."""
    columns = ", ".join(f"{NEW.get(name, quoted(name))} AS {quoted(name)}" for name in COLUMNS)
    with store.reader() as cursor:
        insert(cursor, "events", rows("mycli", events // EVENTS_OF_ONE // COPIES, DAYS, 1, END))
        cursor.execute("CREATE TEMP TABLE generated AS SELECT * FROM events")
        cursor.execute("DELETE FROM events")
        for month in range(13):
            cursor.execute(
                f"INSERT INTO events SELECT {columns} FROM generated, range({COPIES}) AS copies(n) "
                "WHERE date_diff('month', DATE '2025-11-01', \"at\"::DATE) = ? ORDER BY \"at\"",
                [month],
            )
        cursor.execute("DROP TABLE generated")
        cursor.execute("CHECKPOINT")
    start = time.monotonic()
    store.roll_up()
    print(f"rolled up in {time.monotonic() - start:.1f} s; {store.size_bytes() / 1e6:.0f} MB")
    with store.reader() as cursor:
        for table in ("events", "installation_days", "run_days"):
            print(f"{table:18} {cursor.execute(f'SELECT count(*) FROM {table}').fetchone()[0]:12,} rows")


def measure(store: Store, filters: Filters, question: Any) -> tuple[float, float]:
    """Return the median wall time, and the CPU seconds, of an answer."""
    walls, cpu = [], []
    with store.reader() as cursor:
        for _ in range(3):
            start, used = time.monotonic(), time.process_time()
            answer(lambda sql, values: cursor.execute(sql, values).fetchall(), DUCKDB, question, filters)
            walls.append(time.monotonic() - start)
            cpu.append(time.process_time() - used)
    return statistics.median(walls), min(cpu)


def main(words: list[str] | None = None) -> None:
    """Fill, ask, print."""
    words = words or []
    events = int(words[0]) if words else 10_000_000
    folder = Path(words[1]) if len(words) > 1 else ROOT / "build" / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.duckdb"
    try:
        with Store(path, threads=2) as store:
            fill(store, events)
            periods = [Filters("mycli", END - timedelta(days - 1), END) for days in (28, DAYS)]
            print(f"load {os.getloadavg()[0]:.1f}; wall s (cpu s)")
            print(f"{'question':24}{'28 days':>18}{'a year':>18}")
            for question in [*QUESTIONS.values(), *declared_questions(SCHEMA).values()]:
                times = [measure(store, filters, question) for filters in periods]
                late = "  above 1 s" if max(wall for wall, _ in times) > LIMIT_S else ""
                print(
                    f"{question.id:24}" + "".join(f"{wall:10.2f} ({cpu:5.2f})" for wall, cpu in times) + late,
                    flush=True,
                )
    finally:
        for left in folder.glob("bench.duckdb*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
