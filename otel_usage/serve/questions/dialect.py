"""What DuckDB and ClickHouse write differently: each such piece of SQL is a method here, and all else is common to both.

Questions are written in the SQL that both speak. Where they differ a question calls a method of its `Dialect`. Values are
never part of the text: a query names parameters (``self.text("app")``), and who executes it binds them. All times are UTC.

TRAPS  ClickHouse's ``min`` and ``quantile`` of no rows are 0 and NaN where DuckDB has NULL: aggregate by group, or add
       ``HAVING count(*) > 0``. ClickHouse's outer joins fill with 0 and '', not NULL: questions have none. ClickHouse lets an
       alias hide a column of the same name: give what is computed a name that no table has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol


class Dialect(Protocol):
    """The pieces of SQL in which two databases differ. Arguments are SQL, but for the names of parameters."""

    name: str

    def text(self, parameter: str) -> str:
        """Return a parameter that is text."""

    def date(self, parameter: str) -> str:
        """Return a parameter that is a day, bound as ``2026-11-26``."""

    def time(self, parameter: str) -> str:
        """Return a parameter that is a time, bound as ``2026-11-26 00:00:00``."""

    def whole(self, parameter: str) -> str:
        """Return a parameter that is a whole number."""

    def day(self, time: str) -> str:
        """Return the day of a time, in UTC."""

    def week(self, day: str) -> str:
        """Return the Monday on or before a day."""

    def days_between(self, first: str, last: str) -> str:
        """Return how many days *last* is after *first*; both are days."""

    def plus_days(self, day: str, days: str) -> str:
        """Return the day that is *days* after *day*; *days* is a whole number, or SQL that is one."""

    def seconds_between(self, first: str, last: str) -> str:
        """Return how many whole seconds *last* is after *first*; both are times."""

    def distinct(self, value: str) -> str:
        """Return how many different values there are, exactly; NULL is none."""

    def distinct_if(self, value: str, condition: str) -> str:
        """Return how many different values there are where *condition* holds, exactly."""

    def count_if(self, condition: str) -> str:
        """Return of how many rows *condition* holds."""

    def quantile(self, value: str, share: float) -> str:
        """Return the exact quantile, between two values where it falls between them."""

    def quantiles(self, value: str, shares: Sequence[float]) -> str:
        """Return a list of such quantiles: the values are sorted once for all of them."""

    def value_at_last(self, value: str, by: str) -> str:
        """Return *value* of the row in which *by* is largest."""

    def value_at_first(self, value: str, by: str) -> str:
        """Return *value* of the row in which *by* is smallest."""

    def min_if(self, value: str, condition: str) -> str:
        """Return the smallest value where *condition* holds; of no rows, whatever the database makes of them."""

    def unnested(self, table: str, array: str, alias: str) -> str:
        """Return what follows FROM so that each element of *array* is a row, called *alias*."""

    def field(self, parameter: str) -> str:
        """Return the value of the declared field that a parameter names, '' where it is absent."""

    def field_elements(self, table: str, parameter: str, alias: str) -> str:
        """Return what follows FROM so that each of a declared field's values, joined by commas, is a row called *alias*."""

    def bind(self, sql: str, values: Mapping[str, str]) -> dict[str, str]:
        """Return the values of the parameters that a query names, no others, as a driver takes them."""


class _DuckDB:
    name = "duckdb"

    def text(self, parameter: str) -> str:
        return f"CAST(${parameter} AS VARCHAR)"

    def date(self, parameter: str) -> str:
        return f"CAST(${parameter} AS DATE)"

    def time(self, parameter: str) -> str:
        return f"CAST(${parameter} AS TIMESTAMP)"

    def whole(self, parameter: str) -> str:
        return f"CAST(${parameter} AS BIGINT)"

    def day(self, time: str) -> str:
        return f"CAST({time} AS DATE)"

    def week(self, day: str) -> str:
        return f"CAST(date_trunc('week', {day}) AS DATE)"

    def days_between(self, first: str, last: str) -> str:
        return f"date_diff('day', {first}, {last})"

    def plus_days(self, day: str, days: str) -> str:
        return f"({day} + CAST({days} AS INTEGER))"

    def seconds_between(self, first: str, last: str) -> str:
        return f"(epoch_us({last}) - epoch_us({first})) // 1000000"

    def distinct(self, value: str) -> str:
        return f"count(DISTINCT {value})"

    def distinct_if(self, value: str, condition: str) -> str:
        return f"count(DISTINCT CASE WHEN {condition} THEN {value} END)"

    def count_if(self, condition: str) -> str:
        return f"count(*) FILTER (WHERE {condition})"

    def quantile(self, value: str, share: float) -> str:
        return f"quantile_cont({value}, {share})"

    def quantiles(self, value: str, shares: Sequence[float]) -> str:
        return f"quantile_cont({value}, [{', '.join(map(str, shares))}])"

    def value_at_last(self, value: str, by: str) -> str:
        return f"arg_max({value}, {by})"

    def value_at_first(self, value: str, by: str) -> str:
        return f"arg_min({value}, {by})"

    def min_if(self, value: str, condition: str) -> str:
        return f"min({value}) FILTER (WHERE {condition})"

    def unnested(self, table: str, array: str, alias: str) -> str:
        return f"{table}, unnest({array}) AS elements({alias})"

    def field(self, parameter: str) -> str:
        return f"coalesce(fields[{self.text(parameter)}], '')"

    def field_elements(self, table: str, parameter: str, alias: str) -> str:
        return f"{table}, unnest(string_split({self.field(parameter)}, ',')) AS elements({alias})"

    def bind(self, sql: str, values: Mapping[str, str]) -> dict[str, str]:
        return {name: values[name] for name in re.findall(r"\$(\w+)", sql)}


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


class _ClickHouse:
    name = "clickhouse"

    def text(self, parameter: str) -> str:
        return f"{{{parameter}:String}}"

    def date(self, parameter: str) -> str:
        return f"{{{parameter}:Date32}}"

    def time(self, parameter: str) -> str:
        return f"{{{parameter}:DateTime64(6, 'UTC')}}"

    def whole(self, parameter: str) -> str:
        return f"{{{parameter}:Int64}}"

    def day(self, time: str) -> str:
        return f"toDate32({time}, 'UTC')"

    def week(self, day: str) -> str:
        return f"addDays(toDate32({day}), 1 - toDayOfWeek({day}))"  # toMonday() ends in 2149

    def days_between(self, first: str, last: str) -> str:
        return f"dateDiff('day', {first}, {last})"

    def plus_days(self, day: str, days: str) -> str:
        return f"addDays({day}, {days})"

    def seconds_between(self, first: str, last: str) -> str:
        return f"intDiv(toUnixTimestamp64Micro({last}) - toUnixTimestamp64Micro({first}), 1000000)"

    def distinct(self, value: str) -> str:
        return f"uniqExact({value})"

    def distinct_if(self, value: str, condition: str) -> str:
        return f"uniqExactIf({value}, {condition})"

    def count_if(self, condition: str) -> str:
        return f"countIf({condition})"

    def quantile(self, value: str, share: float) -> str:
        return f"quantileExactInclusive({share})({value})"

    def quantiles(self, value: str, shares: Sequence[float]) -> str:
        return f"quantilesExactInclusive({', '.join(map(str, shares))})({value})"

    def value_at_last(self, value: str, by: str) -> str:
        return f"argMax({value}, {by})"

    def value_at_first(self, value: str, by: str) -> str:
        return f"argMin({value}, {by})"

    def min_if(self, value: str, condition: str) -> str:
        return f"minIf({value}, {condition})"

    def unnested(self, table: str, array: str, alias: str) -> str:
        return f"{table} ARRAY JOIN {array} AS {alias}"

    def field(self, parameter: str) -> str:
        return f"fields[{self.text(parameter)}]"

    def field_elements(self, table: str, parameter: str, alias: str) -> str:
        return f"{table} ARRAY JOIN splitByChar(',', {self.field(parameter)}) AS {alias}"

    def bind(self, sql: str, values: Mapping[str, str]) -> dict[str, str]:
        # ClickHouse reads the value of a parameter as a field of TSV, in which these are escaped.
        return {name: values[name].translate(_ESCAPES) for name in re.findall(r"\{(\w+):", sql)}


DUCKDB: Dialect = _DuckDB()
CLICKHOUSE: Dialect = _ClickHouse()
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (DUCKDB, CLICKHOUSE)}
