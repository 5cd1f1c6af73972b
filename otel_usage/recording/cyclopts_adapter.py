"""Tell a run which cyclopts command and options were given.

Loaded when `cyclopts.core` is imported. Observed: an app's `_parse_known_args`, `help_print`, `version_print` and
`_handle_parse_error`, when they are looked up, and the binding of the arguments to the function, once it has returned: it
calls no code of the program. The app keeps the chain of apps that the line has reached: their names are those under which each
is declared by the one above. A meta app, which takes some
options and calls its own app with the rest, stands for the same command as that one.

TRIED  cyclopts 5.0 to 5.5.
NOT KNOWN  anything but the exit code before 5.0; `--help` among the options.
"""

import sys

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe *module*, ``cyclopts.core``."""
    roots: list[Any] = []  # the program's own app, while it is being parsed

    def began(app: "Any") -> None:
        if roots and app is roots[0]._meta_parent:  # the program's meta app hands on to its own app
            roots[:] = [app]
            run.parsing_outcome = "parsing"
        elif not roots and not run.path_is_final:
            run.path_is_final = True
            roots.append(app)
            run.name_command((), final=False)
            run.parsing_outcome = "parsing"

    def refused(app: "Any") -> None:
        if app in roots:
            run.name_command(_path(app), final=False)
            run.parsing_outcome = "usage_error"

    def explained(app: "Any") -> None:
        if roots and run.parsing_outcome:
            run.name_command(_path(app), final=False)
            run.parsing_outcome = "help"

    def bound(result: "Any", arguments: "Any", function: "Any") -> None:
        if not roots or not run.parsing_outcome:
            return
        run.parsing_outcome = ""
        for argument in arguments:
            if any([token.source == "cli" and token.keyword for token in argument.tokens]):
                names = [name for name in argument.names if name.startswith("-")]
                if names:
                    run.add_option(
                        str(max(names[:1] + [name for name in names if name in argument.positives], key=len))
                    )
        run.name_command(_path(roots[0]))

    kind = module.App
    if "_handle_parse_error" not in kind.__dict__:
        return  # before 5.0: the command is unknown
    _observation.tell_lookup(kind, "_parse_known_args", began)
    for name in (
        "help_print",
        "version_print",
        "_assemble_help_panels",
    ):  # the last knows the command, below a meta app too
        if name in kind.__dict__:
            _observation.tell_lookup(kind, name, explained)
    _observation.tell_lookup(kind, "_handle_parse_error", refused)
    _observation.tell_return(sys.modules["cyclopts.bind"], "_bind", bound)


def _path(app: "Any") -> "tuple[str, ...]":
    """Return the names of the commands that *app* has reached, as each is declared by the one above."""
    apps = app.app_stack.stack[-1]
    path = []
    for at, one in enumerate(apps[1:]):
        above = apps[at]
        if above._meta_parent is one or one._meta_parent is above:
            continue  # an app and its meta app stand for the same command
        commands = {**above._commands, **getattr(above._meta_parent, "_commands", {})}
        names = [name for name, declared in commands.items() if declared is one]
        if not names or not names[0].startswith("-"):  # its own --help and --version are commands to it
            path.append(str(names[0]) if names else "(unknown)")
    return tuple(path)
