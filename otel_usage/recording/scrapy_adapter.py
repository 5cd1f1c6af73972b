"""Tell a run which command of scrapy was given; its options are argparse's.

Loaded when `scrapy.commands` is imported. A command's `add_options` is observed when it is looked up: the parser that follows is
that command's. Scrapy's own commands have names; those of a user's project have none.

TRIED  Scrapy 2.13.
NOT KNOWN  commands of a user's own project: `(unknown)`.
"""

from .. import _load
from .observation import tell_lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run


def install(run: "Run", module: "Any") -> None:
    """Observe the commands of *module*, ``scrapy.commands``."""

    def began(command: "Any") -> None:
        package, _, name = str(type(command).__module__).rpartition(".")
        if not run.path_is_final:
            own = package == module.__name__
            _load("recording.argparse_adapter").expect(run, [name if own else "(unknown)"])

    tell_lookup(module.ScrapyCommand, "add_options", began)
