"""Tell a run which docopt commands and options were given.

Loaded when docopt is imported, of either distribution (docopt, docopt-ng). Two functions are observed once they have
returned, neither of which calls the program: `parse_argv`, with which a parse begins, and the matching of the whole usage
pattern, whose result holds the commands and options that the usage text declares.

TRIED  docopt 0.6.2, docopt-ng 0.9.
NOT KNOWN  the command where nothing of the usage fits, if it has any, or where a second parse declares none; `--help` among the options.
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
    left_over: list[Any] = []  # words that the last parse has left to a second one: see `_is_handed_on`
    before: list[str] = []  # the command as the parses before this one have it
    is_second = leaves = False  # leaves: the parse takes options before the first word alone, as git does

    def began(words: "list[Any]", *arguments: "Any") -> None:
        nonlocal is_second, leaves
        is_second = _is_handed_on(left_over, words)
        if is_second or not run.path_is_final:
            leaves = any([argument is True for argument in arguments])  # options_first
            before[:] = run.command_path or () if is_second else ()
            run.name_command(None if is_second else (), final=is_second)
            run.path_is_final = True
            run.parsing_outcome = "parsing"
            pending[:] = [words]

    def matched(result: "Any", pattern: "Any", words: "Any", collected: "Any" = None) -> None:
        if not pending or words is not pending[0] or collected:
            return  # a part of the pattern
        left_over.clear()
        complete, left, collected = result
        if not complete:
            if pattern.flat(module.Command):  # nothing of the usage fits: which command was meant is not known
                run.name_command(None)
            return
        names = [one.name for one in collected if type(one) is module.Command and one.value]
        left_over.extend(names if leaves else ())
        if names[: len(before)] == before:
            names = names[len(before) :]
        run.name_command((*before, *names) if names or not is_second else None)
        for one in collected:
            if type(one) is module.Option:
                run.add_option(str(getattr(one, "long", None) or getattr(one, "longer", None) or one.name))
            elif leaves and type(one) is module.Argument:
                left_over.append(one.value)
        if left == []:
            run.parsing_outcome = ""

    _observation.tell_return(module, "parse_argv", began)
    _observation.tell_return(module.Required, "match", matched)
    _observation.tell_exit(run, module.DocoptExit, parsing=False)  # a program may raise it, too


def _is_handed_on(left_over: "list[Any]", words: "list[Any]") -> bool:
    """True if *words*, of a parse that begins, were left over by one before it: then the command is the second one's.

    Of *words*, those that are no option are compared; a list of words stands for all of them.
    """
    left = [word for value in left_over for word in (value if type(value) is list else [value])]
    own = [word.value for word in words if not hasattr(word, "argcount")]
    return bool(own) and all([word in left for word in own])
