"""Tell a run which flags a program on absl was given.

Loaded when `absl.app` is imported. Two steps of a parse are observed when they are looked up: the reading of flag files, with
which it begins, and `mark_as_parsed`, with which it ends. absl has no commands; `--help` ends with 1, as a wrong flag does.

TRIED  absl-py 0.15 to 2.5.
NOT KNOWN  that `--help`, which ends with 1, was no usage error.
"""

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the flags of *module*, ``absl.app``."""

    def began(values: "Any") -> None:
        if not run.path_is_final:
            run.name_command((), final=False)
            run.parsing_outcome = "parsing"

    def parsed(values: "Any") -> None:
        if not run.path_is_final:
            run.path_is_final = True
            run.parsing_outcome = ""
            for flag in {id(one): one for one in values._flags().values()}.values():
                if flag.present:
                    run.add_option("--" + str(flag.name))
            run.name_command(())

    _observation.tell_lookup(module.flags.FlagValues, "read_flags_from_files", began)
    _observation.tell_lookup(module.flags.FlagValues, "mark_as_parsed", parsed)
