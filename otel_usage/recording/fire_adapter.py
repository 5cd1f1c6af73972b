"""Tell a run which members of its component a program on Fire was asked for, and which flags.

Loaded when `fire.core` is imported. Observed once they have returned, none of which calls the program: the trace's two
notes, that a member was accessed and that something was called, and the parsing of flags, whose result holds those that the
called function declares. What was typed is a name only where the program declares it: not beyond the first function that is
called, nor in what an instance keeps in a dictionary or a list: that may be what a user wrote.

TRIED  fire 0.4 to 0.7.
NOT KNOWN  members beyond the first function that is called, and what an instance keeps in a dictionary; `--help` among
the options.
"""

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe *module*, which is ``fire.core``."""
    path: list[str] = []
    traces: list[Any] = []  # the program's own; others are of calls within it
    called: list[str] = []  # the actions of what was called

    def is_result() -> bool:
        """True once a function was called: what is accessed from then on is what it returned."""
        return bool({*called} - {module.trace.INSTANTIATED_CLASS})

    def began(none: None, trace: "Any", *arguments: "Any") -> None:
        if not run.path_is_final:
            run.path_is_final = True
            traces.append(trace)
            run.name_command((), final=False)

    def accessed(none: None, trace: "Any", *arguments: "Any") -> None:
        if trace in traces and path[-1:] != ["(unknown)"] and not is_result():
            name = str(trace.elements[-1]._target).replace("-", "_")
            owner = trace.elements[-2].component
            path.append(
                name if _declares(owner, name, trace.elements[-1].component, was_called=bool(called)) else "(unknown)"
            )
            run.name_command(tuple(path), final=False)

    def parsed(result: "Any", words: "Any", spec: "Any") -> None:
        if traces and not is_result():
            declared = [*spec.args, *spec.kwonlyargs]
            for name in result[0]:
                if name in declared:
                    run.add_option("--" + str(declared[declared.index(name)]))

    def ended(none: None, trace: "Any", *arguments: "Any") -> None:
        if trace in traces:
            called.append(trace.elements[-1]._action)

    trace: Any = module.trace.FireTrace
    _observation.tell_return(trace, "__init__", began)
    _observation.tell_return(trace, "AddAccessedProperty", accessed)
    _observation.tell_return(trace, "AddCalledComponent", ended)
    _observation.tell_return(module, "_ParseKeywordArgs", parsed)
    _observation.tell_exit(run, module.FireExit, parsing=True)


def _declares(owner: "Any", name: str, value: "Any", was_called: bool) -> bool:
    """True if the program, not its user, has called a member of *owner* so. was_called: something was to get *owner*."""
    if not was_called:
        return name in owner if isinstance(owner, dict) else name in dir(owner)
    if name in dir(type(owner)):
        return True
    # Set by the instance: it counts if what it holds is of the program's own classes.
    return type(value).__module__.partition(".")[0] == type(owner).__module__.partition(".")[0] != "builtins"
