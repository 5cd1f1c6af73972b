"""What may be declared of a name, as types: for editors and type checkers, which complete and check ``init(schema=…)``.

Never loaded at run time; `otel_usage.schema.declaration` checks the same, and more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, Union

# bool, a list of choices, or what `bucket`, `integer`, `several` and `version` return.
FieldType = Union[type[bool], Literal["bool"], Sequence[str], "tuple[object, ...]"]


class _Required(TypedDict):
    why: str


class Row(_Required, total=False):
    """One declared name: the question it answers, and what is recorded with it."""

    kind: Literal["action", "count", "error", "heartbeat"]
    fields: Mapping[str, FieldType]
    segment: str
    owner: str
    until: str


Schema = Mapping[str, Row]
