"""Tell a run which argparse command and options were given.

Ring 0 (foreground): loaded at the first parse. Names come from the parsers' own tree, never from argv.
"""

from .recorder import Run, guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class _Parse:
    """The program's own parse: which parser is the root, and which sub-parsers were reached.

    A program may look at a few options first (``parse_known_args``) and parse in full later: the first full parse
    counts, and what was parsed before it only until then. Parses after it, or inside it, are somebody else's.
    """

    __slots__ = ("chain", "full", "pending", "words")

    def __init__(self) -> None:
        self.chain: list[Any] = []
        self.words: list[str] = []
        self.full = False
        self.pending: Any = None


_parse: "_Parse | None" = None


def began(run: Run, module: "ModuleType", name: str, parser: "Any") -> None:
    """Note that *parser* is about to parse. name: the method it was asked for."""
    global _parse
    parse = _parse
    if parse is None:
        parse = _parse = _Parse()
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
            run.named(tuple(parse.words), final=parser._subparsers is None)
            return
    if parse.full and parser is not parse.chain[0]:
        return
    if parser is parse.pending:
        parse.full = True
    elif parse.words and not parse.full:
        return
    parse.chain, parse.words = [parser], []
    run.named((), final=parser._subparsers is None)


def _word(module: "ModuleType", parent: "Any", parser: "Any") -> "str | None":
    """Return the name under which *parent* declares *parser* as a sub-command; for aliases the first."""
    for action in parent._actions:
        if isinstance(action, module._SubParsersAction):
            for word, declared in action.choices.items():
                if declared is parser:
                    return str(word)
    return None


def _watch_options(run: Run, module: "ModuleType", parse: _Parse) -> None:
    # argparse asks for this pattern whenever it takes an option, before any code of the host runs.
    original = module.ArgumentParser._get_nargs_pattern

    def _get_nargs_pattern(self: "Any", action: "Any") -> "Any":
        if action.option_strings and self in parse.chain:
            names = action.option_strings
            guarded(run.given, next((name for name in names if name.startswith("--")), names[0]))
        return original(self, action)

    module.ArgumentParser._get_nargs_pattern = _get_nargs_pattern
