"""May this be recorded, and by whose word: the gate, the stored choice, the notice and the question."""

from .. import _load

_load("aliases").give_modules("consent")
