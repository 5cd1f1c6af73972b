"""One question for each event that a program declares, under the ``why`` of its schema; and what no question uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .ask import Execute, ask_table
from .dialect import DUCKDB, Dialect
from .filters import Filters
from .question import AT, LASTING, Column, Headline, Question, Results, Row, Scope, Table, share

PREFIX = "event."
ANY = "(all)"
NEVER = "(never sent)"
MAX_VALUES = 50  # of a field, the most frequent
# Counts, and what services send by themselves, are about no audience.
OF_EVERYBODY = ("count", "heartbeat")


def declared_questions(schema: Mapping[str, Mapping[str, Any]]) -> dict[str, Question]:
    """Return {id: question} of a program's schema, in its order; ids are ``event.`` and the declared name. Any: a schema's.

    >>> list(declared_questions({"report.upload": {"why": "is it worth keeping?"}}))
    ['event.report.upload']
    """
    return {PREFIX + name: _question(name, row) for name, row in schema.items()}


def unused_fields(
    execute: Execute, dialect: Dialect, schema: Mapping[str, Mapping[str, Any]], filters: Filters
) -> list[str]:
    """Return the declared fields, as ``name.field``, that no event of the period had: nobody learns anything from them."""
    unused = []
    for question in declared_questions(schema).values():
        name = question.id.removeprefix(PREFIX)
        rows = ask_table(execute, dialect, question, filters).rows
        unused += [f"{name}.{row[0]}" for row in rows if row[1] == NEVER and row[0] != ANY]
    return unused


def unused_columns(columns: tuple[str, ...], questions: Mapping[str, Question]) -> list[str]:
    """Return those of *columns*, of ``events``, that no query of *questions* names, of whatever table."""
    words: set[str] = set()
    for question in questions.values():
        for sql in question.queries(Scope(DUCKDB, "people")).values():
            words.update(re.findall(r"\w+", sql))
    return [column for column in columns if column not in words]


def _question(name: str, row: Mapping[str, Any]) -> Question:
    kind = row.get("kind", "action")
    fields: Mapping[str, Any] = row.get("fields") or {}
    places = {f"field_{n}": field for n, field in enumerate(fields)}
    table = "counts" if kind == "count" else "events"
    amount = "sum(amount)" if kind == "count" else "count(*)"
    users = "installation", LASTING

    def queries(scope: Scope) -> dict[str, str]:
        d = scope.dialect
        where = f"{scope.events()} AND name = {d.text('name')}" + (
            "" if kind == "count" else f" AND kind = {d.text('kind')}"
        )
        reporting = [d.distinct_if("installation", f"{LASTING} AND {d.field(place)} <> ''") for place in places]
        counted = ", ".join([d.distinct_if(*users), amount, f"max({d.day(AT)})", *reporting])
        sql = {"all": f"SELECT {counted} FROM {table} WHERE {where} HAVING count(*) > 0"}
        for place, field in places.items():
            source, value = table, d.field(place)
            if _has_several(fields[field]):
                source, value = d.field_elements(table, place, "one_value"), "one_value"
            sql[place] = f"""
                SELECT {value} AS field_value, {d.distinct_if(*users)}, {amount}, max({d.day(AT)})
                FROM {source} WHERE {where} GROUP BY field_value"""
        return sql

    def shape(results: Results, _filters: Filters) -> Table:
        if not results["all"]:
            return Table([], [Headline("installations", 0), Headline("times", 0)])
        installations, times, last_day, *reporting = results["all"][0]
        rows: list[Row] = [(ANY, ANY, int(installations), None, int(times), last_day)]
        for (place, field), of in zip(places.items(), reporting, strict=True):
            values = [(str(value), int(users), int(n), day) for value, users, n, day in results[place] if value]
            values.sort(key=lambda value: (-value[1], -value[2], value[0]))
            rows += [(field, value, n, share(n, int(of)), t, day) for value, n, t, day in values[:MAX_VALUES]]
            if not values:
                rows.append((field, NEVER, 0, None, 0, last_day))
        return Table(rows, [Headline("installations", int(installations)), Headline("times", int(times))])

    owner = f" {row['owner']} answers for it." if row.get("owner") else ""
    until = f" It is recorded until {row['until']}." if row.get("until") else ""
    return Question(
        id=PREFIX + name,
        title=str(row["why"]),
        why=f"Declared as {name}, of kind {kind}.{owner}{until}",
        definition=(
            f"How many installations sent {name} in the period, how often it was "
            f"{'counted' if kind == 'count' else 'sent'}, and the last day; then, for each field that is declared with it, each "
            "value. The share is of the installations that sent this field at all; one that sent two values counts for both, so "
            "that shares may add up to more than one. A field that was never sent stands there as such: perhaps nobody needs it."
        ),
        of_whom="Installations whose id lasts; times are of all.",
        draw="bars",
        x="value",
        y=("installations",),
        series="field",
        columns=(
            Column("field", "Field", "text"),
            Column("value", "Value", "text"),
            Column("installations", "Installations"),
            Column("share", "Share of those that sent the field", "share"),
            Column("times", "Times"),
            Column("last_day", "Last day", "day"),
        ),
        queries=queries,
        shape=shape,
        rows_of=(table,),
        parameters=lambda _filters: {"name": name, "kind": kind, **places},
        every_audience=kind in OF_EVERYBODY,
    )


def _has_several(field_type: object) -> bool:
    """True if a field of this type is sent as several values joined by commas."""
    return isinstance(field_type, (tuple, list)) and field_type[:1] in (("several",), ["several"])
