"""Tell a run which tasks and options a program on Invoke was asked for.

Loaded when `invoke.program` is imported. Two steps of a program are observed when they are looked up: `parse_cleanup`, when
the line has been parsed, and `execute`, before the tasks run. The tasks of a program that brings its own (``namespace=…``)
have names; those that `inv` finds in a user's own tasks.py are his affair, and have none.

TRIED  invoke 2.0 to 3.0.
NOT KNOWN  tasks of a user's own tasks.py, and their options: `(unknown)`.
"""

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")

MAX_CHAINED = 8


def install(run: "Run", module: "Any") -> None:
    """Observe *module*, ``invoke.program``."""

    def began(program: "Any") -> None:
        if not run.path_is_final:
            run.name_command((), final=False)
            run.parsing_outcome = "parsing"

    def parsed(program: "Any") -> None:
        if run.path_is_final:
            return
        run.path_is_final = True
        tasks = program.tasks
        own = program.namespace is not None
        if "list" in program.args and program.args["list"].value:
            run.parsing_outcome = ""  # it lists the tasks, and ends: that is what was asked for
        names = [str(task.name) if own else "(unknown)" for task in tasks]
        asked_for = program.args["help"].value if "help" in program.args else None
        if not names and own and type(asked_for) is str and asked_for in program.parser.contexts:
            names = [str(program.parser.contexts[asked_for].name)]
        elif not names and type(asked_for) is str:
            names = ["(unknown)"]
        path = ["+".join([*dict.fromkeys(names)][:MAX_CHAINED])] if names else []
        run.name_command(tuple(path))
        for context in [program.core[0], *(tasks if own else ())]:
            for argument in {id(one): one for one in context.args.values()}.values():
                if argument.got_value and not argument.positional and argument.value != argument.default:
                    run.add_option("--" + max(argument.names, key=len).replace("_", "-"))

    def executing(program: "Any") -> None:
        run.parsing_outcome = ""

    _observation.tell_lookup(module.Program, "parse_core", began)
    _observation.tell_lookup(module.Program, "parse_cleanup", parsed)
    _observation.tell_lookup(module.Program, "execute", executing)
