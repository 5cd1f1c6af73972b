"""A transaction of a cursor: all of it is committed, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import duckdb


class Executing(Protocol):
    """What a transaction asks of a cursor."""

    def execute(self, query: str, /) -> object:
        """Execute *query*."""


@contextmanager
def transaction(cursor: Executing) -> Iterator[None]:
    """Commit what the with statement does on *cursor*; roll it back if that, or the commit, raises, and raise the same.

    >>> cursor = duckdb.connect()
    >>> with transaction(cursor):
    ...     _ = cursor.execute("CREATE TABLE t AS SELECT 1 AS n")
    >>> cursor.execute("SELECT n FROM t").fetchall()
    [(1,)]
    """
    cursor.execute("BEGIN TRANSACTION")
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        try:
            cursor.execute("ROLLBACK")
        except duckdb.Error:  # the fault itself has rolled it back
            pass
        raise
