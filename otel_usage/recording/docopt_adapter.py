"""Tell a run which docopt commands and options were given.

Loaded when docopt is imported, of either distribution (docopt, docopt-ng). Two functions are observed once they have
returned, neither of which calls the program: `parse_argv`, with which a parse begins, and the matching of the whole usage
pattern, whose result holds the commands and options that the usage text declares.

TRIED  docopt 0.6.2, docopt-ng 0.9.
NOT KNOWN  the command where nothing of the usage fits, if it has any; `--help` among the options.
"""

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the docopt of *module*."""
    pending: list[Any] = []  # what argv was parsed into, while it is being matched

    def began(words: "list[Any]", *arguments: "Any") -> None:
        if not run.path_is_final:
            run.path_is_final = True
            run.name_command((), final=False)
            run.parsing_outcome = "parsing"
            pending[:] = [words]

    def matched(result: "Any", pattern: "Any", words: "Any", collected: "Any" = None) -> None:
        if not pending or words is not pending[0] or collected:
            return  # a part of the pattern
        complete, left, collected = result
        if not complete:
            if pattern.flat(module.Command):  # nothing of the usage fits: which command was meant is not known
                run.name_command(None)
            return
        path = [one.name for one in collected if type(one) is module.Command and one.value]
        run.name_command(tuple(path))
        for one in collected:
            if type(one) is module.Option:
                run.add_option(str(getattr(one, "long", None) or getattr(one, "longer", None) or one.name))
        if left == []:
            run.parsing_outcome = ""

    _observation.tell_return(module, "parse_argv", began)
    _observation.tell_return(module.Required, "match", matched)
    _observation.tell_exit(run, module.DocoptExit, parsing=False)  # a program may raise it, too
