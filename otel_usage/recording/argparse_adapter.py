"""Tell a run which argparse command and options were given.

Loaded at the first parse. Names come from the parsers' own tree, never from argv.

TRIED  argparse of CPython 3.10 to 3.14; jsonargparse 4.20 to 4.53, ConfigArgParse 1.5 to 1.9, knack 0.10 to 0.14,
pydantic-settings 2.16.
NOT KNOWN  whether a status of the program's own, with which it ends after it has caught an exit of argparse's, is a usage error.
"""

import sys

from .. import _guarded, _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from .run import Run

# The program's own parse: chain (the root parser, and the sub-parsers reached), words, full, pending, root, declared, and
# expected: the words of the next parser, where another adapter knows them.
# A program may look at a few options first (``parse_known_args``) and parse in full later: the first full parse
# counts, and what was parsed before it only until then. Parses after it, or inside it, are somebody else's: so is a full
# parse by another parser once a sub-command was reached. A full parse that took nothing may have been asked for the
# defaults alone (``parse_args([])``): then the same parser may be asked again.
# declared: {id of a parser: (it, its actions when it first looked at argv)}. What it is given later may be words that a
# user typed, made into options: they are never recorded. Nor are those that stand in no list of actions, such as the
# answers of a table that knows every word.
# Where the first parser takes only the command's name and leaves the rest to a second one, the command is the second's.
_parse = None  # type: Any
State = type(sys.implementation)  # type: Any  # types.SimpleNamespace; a class of its own would cost 65,000 instructions


def began(run, module, name, parser):
    # type: (Run, ModuleType, str, Any) -> None
    """Note that *parser* is about to parse. name: the method it was asked for."""
    if not run.watching:  # over: what exit handlers parse is no part of it
        return
    parse = _parse
    if parse is None:
        parse = _start(run, module)
    if name == "parse_args":
        if not parse.full:
            parse.pending = parser
        return
    parse.declared.setdefault(id(parser), (parser, [*parser._actions]))
    if parse.expected is not None:
        _go_on(run, parse, parser, parse.expected)
        return
    if parse.chain:
        word = _word(module, parse.chain[-1], parser)
        if word is not None:
            parse.chain.append(parser)
            parse.words.append(word)
            run.name_command(tuple(parse.words), final=parser._subparsers is None)
            return
    root = parse.root
    if root is not None and parser is not root and parser not in parse.chain and not root._subparsers:
        words = _load("recording.second_parser").words_handed_on(run, parse, parser)
        if words:
            _go_on(run, parse, parser, words)
            return
    if parse.full:
        if parser in parse.chain and (run.options or parse.words or len(sys.argv) < 2):
            parse.chain = []  # once more: it has told all it knows of the run
        return
    if parse.words and parser is not parse.root:
        return
    if parser is parse.pending:
        parse.full = run.path_is_final = True
    elif parse.words:
        return
    parse.chain, parse.words, parse.root = [parser], [], parser
    run.name_command((), final=parser._subparsers is None)


def _start(run, module):
    # type: (Run, ModuleType) -> Any
    """Return the state of a program's parse before it has begun."""
    global _parse
    _parse = State(chain=[], words=[], full=run.path_is_final, pending=None, root=None, declared={}, expected=None)
    _watch_options(run, module, _parse)
    run.on_closed.append(forget_parse)
    return _parse


def expect(run, words):
    # type: (Run, Any) -> None
    """Take the next parser for that of the sub-command *words*, a list of declared names."""
    parse = _parse or _start(run, sys.modules["argparse"])
    if not parse.words:
        parse.expected = words
        run.name_command(tuple(words), final=False)


def _go_on(run, parse, parser, words):
    # type: (Run, Any, Any, Any) -> None
    """Note that *parser* is that of the sub-command *words*."""
    parse.chain, parse.words, parse.root, parse.expected = [parser], [*words], parser, None
    parse.full = run.path_is_final = True
    run.name_command(tuple(words), final=parser._subparsers is None)


def forget_parse():
    # type: () -> None
    """Take the next parse for a program's first, and hold its parsers no more: at the end of a run, and in tests."""
    global _parse
    if _parse is not None:  # who watches the options has it, too
        _parse.__dict__.update(chain=[], root=None, pending=None, declared={})
    _parse = None


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

    def note_option(parser, action):
        # type: (Any, Any) -> None
        names = action.option_strings
        if names and parser in parse.chain:
            _, declared = parse.declared.get(id(parser), (None, ()))
            for one in declared:
                if one is action:
                    option = names[0]
                    for name in names:
                        if name.startswith("--"):
                            option = name
                            break
                    run.add_option(option)
                    return

    def _get_nargs_pattern(self, action):
        # type: (Any, Any) -> Any
        _guarded(note_option, self, action)
        return original(self, action)

    module.ArgumentParser._get_nargs_pattern = _get_nargs_pattern
