"""Tell a run which plumbum sub-commands and switches were given.

Loaded when `plumbum.cli.application` is imported. Observed: an application's `_parse_args`, when it is looked up, and
`_validate_args`, whose first argument holds the switches that were given. It calls no code of the program.

TRIED  plumbum 1.6.9 to 2.0.
NOT KNOWN  an option whose value is refused; usage errors in the number of arguments of `main`, where it raises them itself.
"""

from .. import _guarded, _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the applications of *module*, ``plumbum.cli.application``."""
    chain: list[Any] = []  # the program's application, and those of the sub-commands reached
    validate = module.Application._validate_args

    def began(application: "Any") -> None:
        parent = getattr(application, "parent", None)
        if chain and (parent is None or parent is not chain[-1]):
            return  # one that the program calls for itself
        if not chain:
            if run.path_is_final:
                return
            run.path_is_final = True
        chain.append(application)
        run.parsing_outcome = "parsing"
        path = [_name(chain[at], chain[at + 1]) for at in range(len(chain) - 1)]
        run.name_command(tuple(path), final=not application._subcommands)

    def note_switches(application: "Any", switches: "Any") -> None:
        if application in chain:
            for switch in switches:
                names = application._switches_by_func[switch].names
                option = _observation.longest(names)
                run.add_option(("--" if len(option) > 1 else "-") + option)

    def ended(application: "Any") -> None:
        if application in chain:
            run.parsing_outcome = ""

    def _validate_args(self: "Any", switches: "Any", words: "Any") -> "Any":
        _guarded(note_switches, self, switches)
        result = validate(self, switches, words)
        _guarded(ended, self)
        return result

    _observation.tell_lookup(module.Application, "_parse_args", began)
    module.Application._validate_args = _validate_args


def _name(above: "Any", application: "Any") -> str:
    """Return the name under which *above* declares *application*."""
    for name, declared in above._subcommands.items():
        if declared.subapplication is type(application) or declared.get() is type(application):
            return str(name)
    return "(unknown)"
