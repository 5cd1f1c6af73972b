"""Tell a run which command of django-admin or manage.py was given; its options are argparse's.

Loaded when `django.core.management.base` is imported. Observed when they are looked up: a command's `run_from_argv` and
`print_help`. The command's name is that of the module that its class stands in. Django's own commands have names, the
program's own, and those of packages that are installed; a user's own apps' commands have none.

TRIED  Django 2.2 to 5.2.
NOT KNOWN  commands of a user's own apps: `(unknown)`; `help` and `version` without a command are `(root)`.
"""

import sys

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the commands of *module*, ``django.core.management.base``."""

    def began(command: "Any") -> None:
        if not run.path_is_final:
            _load("recording.argparse_adapter").expect(run, [_name(run, command)])

    def explained(command: "Any") -> None:
        if not run.path_is_final:
            run.path_is_final = True
            run.name_command((_name(run, command),))
            run.parsing_outcome = "help"

    _observation.tell_lookup(module.BaseCommand, "run_from_argv", began)
    _observation.tell_lookup(module.BaseCommand, "print_help", explained)


def _name(run: "Run", command: "Any") -> str:
    """Return the name under which Django finds *command*."""
    name = str(type(command).__module__)
    package, _, rest = name.partition(".")
    file = str(getattr(sys.modules.get(name), "__file__", None)).replace("\\", "/")
    known = package in ("django", run.package) or "-packages/" in file
    return rest.rpartition(".")[2] if known and ".management.commands." in "." + rest else "(unknown)"
