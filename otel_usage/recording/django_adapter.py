"""Tell a run which command of django-admin or manage.py was given; its options are argparse's.

Loaded when `django.core.management` is imported. Observed when they are looked up: `execute` and `fetch_command` of the
utility, and a command's `run_from_argv` and `print_help`. The command's name is that of the module that its class stands in.
Django's own commands have names, the program's own, and those of packages that are installed; a user's own apps' commands have
none. `help` and `version` are no commands in modules: the utility itself looks for these two words.

TRIED  Django 2.2 to 5.2.
NOT KNOWN  commands of a user's own apps: `(unknown)`.
"""

import sys

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the utility of *module*, ``django.core.management``, and its commands."""

    def called(utility: "Any") -> None:
        word = utility.argv[1] if len(utility.argv) > 1 else ""
        for name in ("help", "version"):
            if word == name and not run.path_is_final:
                run.path_is_final = True
                run.name_command((name,))

    def looked_for(utility: "Any") -> None:
        if not run.path_is_final:
            run.name_command(None, final=False)

    def began(command: "Any") -> None:
        if not run.path_is_final:
            _load("recording.argparse_adapter").expect(run, [_name(run, command)])

    def explained(command: "Any") -> None:
        if not run.path_is_final:
            run.path_is_final = True
            run.name_command((_name(run, command),))
            run.parsing_outcome = "help"

    _observation.tell_lookup(module.ManagementUtility, "execute", called)
    _observation.tell_lookup(module.ManagementUtility, "fetch_command", looked_for)
    _observation.tell_lookup(module.BaseCommand, "run_from_argv", began)
    _observation.tell_lookup(module.BaseCommand, "print_help", explained)


def _name(run: "Run", command: "Any") -> str:
    """Return the name under which Django finds *command*."""
    name = str(type(command).__module__)
    package, _, rest = name.partition(".")
    file = str(getattr(sys.modules.get(name), "__file__", None)).replace("\\", "/")
    known = package in ("django", run.package) or "-packages/" in file
    return rest.rpartition(".")[2] if known and ".management.commands." in "." + rest else "(unknown)"
