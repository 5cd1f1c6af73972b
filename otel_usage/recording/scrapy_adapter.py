"""Tell a run which command of scrapy was given; its options are argparse's.

Loaded when `scrapy.commands` is imported. A command's `add_options` is observed when it is looked up: the parser that follows is
that command's. Scrapy's own commands have names; those of a user's project have none.

TRIED  Scrapy 2.19.
NOT KNOWN  commands of a user's own project: `(unknown)`.
"""

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the commands of *module*, ``scrapy.commands``."""

    def began(command: "Any") -> None:
        package, _, name = str(type(command).__module__).rpartition(".")
        if not run.path_is_final:
            own = package == module.__name__
            _load("recording.argparse_adapter").expect(run, [name if own else "(unknown)"])

    _observation.tell_lookup(module.ScrapyCommand, "add_options", began)
