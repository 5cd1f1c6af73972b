"""Tell a run which optparse options were given.

Loaded when optparse is imported. What is observed: `_get_args`, with which a parse begins, however `parse_args` is called,
`check_values` (the last step of a parse) and an option's `process`, each when it is looked up, just before it is called. A
program's own classes may have methods of their own in place of these: `_process_long_opt` and `_process_short_opts`, which take
an option apart, also tell that a parse has begun.
optparse has no sub-commands: where a second parser takes over, as in pip, its own name says which, see second_parser.py.

TRIED  optparse of CPython 3.10 to 3.14.
NOT KNOWN  the command, where a program takes the words apart itself and no second parser follows.
"""

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


class _Parse:
    """What is known of the program's parse. declared: ids of the options that *parser* had before it looked at argv."""

    root = parser = None  # type: Any
    declared = frozenset()  # type: frozenset[int]


def install(run: "Run", module: "ModuleType") -> None:
    """Observe the parsers of *module*."""
    parse = _Parse()

    def began(parser: "Any") -> None:
        if parser is parse.parser:
            return
        if parse.root is None:
            if run.path_is_final:
                return
            run.path_is_final = True
            parse.root = parser
            run.name_command(())
        elif parse.root.allow_interspersed_args:
            return  # a parse of somebody else's: the program's own has taken the whole line
        else:
            words = _load("recording.second_parser").declared_words(run, parse.root.get_prog_name(), parser)
            run.name_command(words or None)
        parse.parser = parser
        options = [option for group in (parser, *parser.option_groups) for option in group.option_list]
        parse.declared = frozenset([id(option) for option in options])
        run.parsing_outcome = "parsing"
        for own in {type(option) for option in options}:
            _observation.tell_lookup_in_subclass(own, "process", taken)
        _observation.tell_lookup_in_subclass(type(parser), "check_values", ended)

    def ended(parser: "Any") -> None:
        began(parser)
        if parser is parse.parser:
            run.parsing_outcome = ""
            if parser is parse.root and not parser.allow_interspersed_args and (parser.largs or parser.rargs):
                run.name_command(None, final=False)  # the words are left to a second parser

    def taken(option: "Any") -> None:
        if id(option) in parse.declared:
            run.add_option(_observation.longest(option._short_opts + option._long_opts))

    kind: Any = module.OptionParser
    for name in ("_get_args", "_process_long_opt", "_process_short_opts"):
        _observation.tell_lookup(kind, name, began)
    _observation.tell_lookup(kind, "check_values", ended)
    _observation.tell_lookup(module.Option, "process", taken)
