"""Tell a run which argparse command and options were given.

Loaded at the first parse. Names come from the parsers' own tree, never from argv.
"""

import sys

from .. import _guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from .run import Run

# The program's own parse: chain (the root parser, and the sub-parsers reached), words, full, pending.
# A program may look at a few options first (``parse_known_args``) and parse in full later: the first full parse
# counts, and what was parsed before it only until then. Parses after it, or inside it, are somebody else's.
_parse = None  # type: Any
State = type(sys.implementation)  # type: Any  # types.SimpleNamespace; a class of its own would cost 65,000 instructions


def began(run, module, name, parser):
    # type: (Run, ModuleType, str, Any) -> None
    """Note that *parser* is about to parse. name: the method it was asked for."""
    global _parse
    parse = _parse
    if parse is None:
        parse = _parse = State(chain=[], words=[], full=run.path_is_final, pending=None)
        _watch_options(run, module, parse)
    if name == "parse_args":
        if not parse.full:
            parse.pending = parser
        return
    if parse.chain:
        word = _word(module, parse.chain[-1], parser)
        if word is not None:
            parse.chain.append(parser)
            parse.words.append(word)
            run.name_command(tuple(parse.words), final=parser._subparsers is None)
            return
    if parse.full:
        if parser in parse.chain:  # once more: it has told all it knows of the run
            parse.chain = []
        return
    if parser is parse.pending:
        parse.full = run.path_is_final = True
    elif parse.words:
        return
    parse.chain, parse.words = [parser], []
    run.name_command((), final=parser._subparsers is None)


def _word(module, parent, parser):
    # type: (ModuleType, Any, Any) -> str | None
    """Return the name under which *parent* declares *parser* as a sub-command; for aliases the first."""
    for action in parent._actions:
        if isinstance(action, module._SubParsersAction):
            for word, declared in action.choices.items():
                if declared is parser:
                    return str(word)
    return None


def _watch_options(run, module, parse):
    # type: (Run, ModuleType, Any) -> None
    # argparse asks for this pattern whenever it takes an option, before any code of the host runs.
    original = module.ArgumentParser._get_nargs_pattern

    def note_option(parser, names):
        # type: (Any, list[str]) -> None
        if names and parser in parse.chain:
            run.add_option(next((name for name in names if name.startswith("--")), names[0]))

    def _get_nargs_pattern(self, action):
        # type: (Any, Any) -> Any
        _guarded(note_option, self, action.option_strings)
        return original(self, action)

    module.ArgumentParser._get_nargs_pattern = _get_nargs_pattern
