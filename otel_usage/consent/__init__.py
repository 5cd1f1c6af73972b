"""May this be recorded, and by whose word: the gate, the stored choice, the notice and the question."""

from .. import _alias

_alias("consent")
