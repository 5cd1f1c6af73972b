"""What a user sees and changes of one program's usage data."""

from .. import _alias

_alias("control")
