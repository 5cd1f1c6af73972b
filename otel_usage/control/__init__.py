"""What a user sees and changes of one program's usage data."""

from .. import _load

_load("aliases").give_modules("control")
