"""Name the command where a program's first parser hands the rest of the line to a second one.

The second parser is made once the word is known, and calls itself by it: ``django-admin startproject``. Whether the
program declares the word, or whoever typed it made it up, shows in what is loaded: programs keep each such command in a
module of its name. So a word counts if it is the last name of a module of the package that the second parser, or the
program, comes from. Commands of other packages (a user's own Django apps) have no name here.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

LIBRARIES = ("argparse", "optparse")  # whose own parsers say nothing of where they come from


def words_handed_on(run: "Run", parse: "Any", parser: "Any") -> "Any":
    """Return the words of the command whose line argparse's root parser has left to *parser*; [] if it has left it nothing.

    It has if it has a positional argument that takes all that is left, or, in a parse that takes what it knows, any, or one
    with choices, of which one was typed. parse: the state of argparse_adapter.py.
    """
    root = parse.root
    positional = [action for action in parse.declared[id(root)][1] if not action.option_strings]
    if not positional:
        return []
    words = declared_words(run, root.prog, parser)
    if not words:
        word = chosen_word(positional)
        words = (word,) if word else ()
    if words:
        return [*parse.words, *words]
    taken = {action.dest for action in positional if action.nargs == "..." or (not parse.full and action.nargs)}
    again = {action.dest for action in parser._actions if not action.option_strings}  # it was only a first look
    return ["(unknown)"] if taken - again else []


def declared_words(run: "Run", first: str, parser: "Any") -> "tuple[str, ...]":
    """Return the words that *parser*'s name has beyond *first*, the first parser's name; () if one is not declared."""
    prog = str(parser.prog or "")
    if not prog.startswith(first + " "):
        return ()
    packages = {run.package, type(parser).__module__.partition(".")[0]} - {"", "__main__", *LIBRARIES}
    words = prog[len(first) + 1 :].split()
    for word in words:
        ending = "." + word.replace("-", "_")
        if not any([name.endswith(ending) and name.partition(".")[0] in packages for name in [*sys.modules]]):
            return ()
    return tuple(words)


def chosen_word(actions: "Any") -> str:
    """Return the first word of the command line that is among the declared choices of a positional argument; "" if none.

    The words were typed, the choices were declared: what is returned is one of the choices.
    """
    for action in actions:
        if not action.option_strings and action.choices:
            choices = [choice for choice in [*action.choices] if type(choice) is str]
            for word in sys.argv[1:]:
                if word in choices:
                    return choices[choices.index(word)]
    return ""
