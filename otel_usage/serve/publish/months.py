"""Where months that are published come from: a store that is open here, or the server that has it open.

FORMAT  of the server's ``/published.json?app=NAME``: ``{"app", "months": ["2026-10", …]}``, the months that may be published
        today; with ``&month=2026-10``: ``{"app", "month", "tables": {TABLE: [{"what", "name", "installations", "percent"}]}}``.
        The server blurs its numbers itself, so that what leaves it may be published as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, Protocol
from urllib.parse import urlencode

from otel_usage.setting_error import SettingError

from ..questions import Execute
from ..remote import ServerError, ask_for_object
from ..stored import choose_app
from .numbers import TABLES, Group, count_month, find_first_month, months_until

PATH = "/published.json"


class Months(Protocol):
    """The months of one program that may be published."""

    app: str
    months: Sequence[date]

    def count(self, month: date, tables: Iterable[str]) -> Mapping[str, list[Group]]:
        """Return {table: its groups} of one of `months`, blurred."""


class StoreMonths:
    """Those of a store. execute: runs a query on it. name: of the program, None if there is one only. Raises SettingError."""

    def __init__(self, execute: Execute, apps: Sequence[str], name: str | None, today: date) -> None:
        self.app = choose_app(name, apps)
        self._execute = execute
        first = find_first_month(execute, self.app)
        self.months: Sequence[date] = months_until(today, first) if first else []

    def count(self, month: date, tables: Iterable[str]) -> Mapping[str, list[Group]]:
        """Return {table: its groups} of one of `months`, blurred."""
        return count_month(self._execute, self.app, month, tables)

    def as_object(self, month: str) -> dict[str, object]:
        """Return what `PATH` answers. month: ``2026-10``, or "". Raises SettingError if it may not be published."""
        names = {f"{one:%Y-%m}": one for one in self.months}
        if not month:
            return {"app": self.app, "months": list(names)}
        if month not in names:
            raise SettingError(f"month {month!r} is not one of {', '.join(names) or 'none'}")
        counted = self.count(names[month], TABLES)
        tables = {table: [asdict(group) for group in groups] for table, groups in counted.items()}
        return {"app": self.app, "month": month, "tables": tables}


class ServerMonths:
    """Those of a server. Raises SettingError, ServerError."""

    def __init__(self, server: str, name: str | None) -> None:
        self._server = server
        answer = self._ask({"app": name or ""})
        try:
            self.app = str(answer["app"])
            self.months: Sequence[date] = [date.fromisoformat(f"{month}-01") for month in answer["months"]]
        except (KeyError, TypeError, ValueError) as exc:
            raise self._explain() from exc

    def count(self, month: date, tables: Iterable[str]) -> Mapping[str, list[Group]]:
        """Return {table: its groups} of one of `months`, blurred."""
        answer = self._ask({"app": self.app, "month": f"{month:%Y-%m}"})
        try:
            return {table: [Group(**group) for group in answer["tables"][table]] for table in tables}
        except (KeyError, TypeError) as exc:
            raise self._explain() from exc

    def _explain(self) -> ServerError:
        return ServerError(f"--server {self._server!r} answers something else: it is of another version")

    def _ask(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        """Return what the server answers. Any: JSON."""
        return ask_for_object(self._server, f"{PATH}?{urlencode({key: one for key, one in query.items() if one})}")
