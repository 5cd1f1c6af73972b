"""Receive, keep, show and pass on, in one process: ``otel-usage serve``. Needs the extra ``[server]``.

What it receives passes through the relay's own code (`otel_usage.server`) up to the destinations; here the store is one::

    store/       what is kept, and how: tables, one writer, rollups, retention, erasure, backup
    questions/   what can be asked of the store, in SQL that DuckDB and ClickHouse both speak
    pages/       what a browser shows
"""
