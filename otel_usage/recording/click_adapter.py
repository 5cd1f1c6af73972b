"""Tell a run which click or typer command and options were given.

Loaded at the first context. Typer's own copy of click has the same shape, and is served too.

TRIED  click 8.0 to 8.5, typer 0.9 to 0.20, asyncclick 8.1 to 8.4; cloup 2 to 4, click-extra 9, click-default-group 1.2.
NOT KNOWN  options of a group's callback that calls another command by itself.
"""

import sys
from _weakref import ref

from .. import _guarded, _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .run import Run

MAX_CHAINED = 8

# The outermost invocation, as a namespace: run, current, root, parsing (weak references to contexts), parsed (those that
# were, with the commands they declared before), handled (id of the exception being handled when the program was called),
# chained. Click pushes each context first to parse, and later, more than once, to invoke. The two functions observed,
# ``push_context`` and ``pop_context``, return before and after code of the host runs. Only contexts that are parsed
# count: ``ctx.invoke(other)`` is the host's own affair.
_State = type(sys.implementation)  # type: Any  # types.SimpleNamespace; a class of its own would cost 65,000 instructions


def pushed(state, context):
    # type: (Any, Any) -> None
    if context._depth != 2 or context.resilient_parsing or any([known() is context for known, _ in state.parsed]):
        return
    top = context
    while top.parent is not None:
        top = top.parent
    if state.root is None:
        if state.run.path_is_final:
            return
        state.run.path_is_final = True
        state.root = ref(top)
        state.handled = id(sys.exc_info()[1])
    if state.root() is not top:
        return
    state.parsing = ref(context)
    state.parsed.append((state.parsing, {**(getattr(context.command, "commands", None) or {})}))
    state.run.parsing_outcome = ""
    words: list[str] = []
    command = context.command
    while context.parent is not None:
        name = word(state, context)
        if getattr(context.parent.command, "chain", False):
            if name not in state.chained and len(state.chained) < MAX_CHAINED:
                state.chained.append(name)
            name = "+".join(state.chained)
        words.insert(0, name)
        context = context.parent
    # A group without a callback of its own goes straight on to its sub-command.
    state.run.name_command(tuple(words), final=command.callback is not None)


def popping(state):
    # type: (Any) -> None
    context = state.current(silent=True)
    if context is None or state.root is None:
        return
    raised = sys.exc_info()[1]
    if id(raised) == state.handled:
        raised = None
    # Since click 8.5 it is pushed once more around a parameter's callback: parsing has gone on, one deeper.
    parsed = context._depth == 1 and state.parsing is not None and state.parsing() is context
    if parsed:
        state.parsing = None
        for parameter in context.command.params:
            if parameter.param_type_name == "option":
                source = context.get_parameter_source(parameter.name)
                if source is not None and source.name == "COMMANDLINE":
                    state.run.add_option(max(parameter.opts, key=len))
        # Click's own option for help is in no list; click keeps it aside once it has made it.
        own = getattr(context.command, "_help_option", None)
        if raised is not None and own is not None:
            source = context.get_parameter_source(own.name)
            if source is not None and source.name == "COMMANDLINE":
                state.run.add_option(max(own.opts, key=len))
    if parsed or state.root() is context:
        left(state, raised, parsed)


def left(state, raised, parsed):
    # type: (Any, BaseException | None, bool) -> None
    """Note the exception that leaves the program, or its parsing: click 8.5 forgets it before it exits."""
    state.run.framework_error = ("", "")
    if raised is None or isinstance(raised, SystemExit):
        return
    code = getattr(raised, "exit_code", None)
    if type(raised).__name__ == "Exit" and code == 0:
        if parsed:
            state.run.parsing_outcome = "help"
        return
    if parsed and code is not None:
        state.run.parsing_outcome = "usage_error"
    failure = _load("recording.failure")
    outcome = failure.outcome_of(raised) or ("interrupted" if isinstance(raised, EOFError) else "")
    state.run.framework_error = (failure.error_type(raised, state.run.package), outcome)


def word(state, context):
    # type: (Any, Any) -> str
    """Return the declared name of a sub-command: what the user typed only if the program lists it.

    Of a name with several words the first: programs declare ``list | ls`` for a command and its alias.
    """
    group, typed, command = context.parent.command, context.info_name, context.command
    before: dict[str, Any] = {}
    for known, commands in state.parsed:
        if known() is context.parent:
            before = commands
    declared: str = str(typed)
    if before.get(typed) is not command:
        declared = _load("recording.click_names").declared_name(group, context.parent, command, typed, before)
    return (declared.split() or ["(unknown)"])[0]


def new_state(run, current):
    # type: (Run, Callable[..., Any]) -> Any
    """Return what is known of an invocation before it begins. current: click's ``get_current_context``."""
    return _State(run=run, current=current, root=None, parsing=None, parsed=[], handled=None, chained=[])


def install(run, module, push):
    # type: (Run, Any, Callable[[Any], None]) -> None
    """Observe the contexts of *module*, ``click.core`` or typer's. push: its own push_context."""
    pop = module.pop_context
    state = new_state(run, push.__globals__["get_current_context"])
    run.on_closed.append(state.parsed.clear)

    def push_context(context):
        # type: (Any) -> None
        push(context)
        _guarded(pushed, state, context)

    def pop_context():
        # type: () -> None
        _guarded(popping, state)
        pop()

    module.push_context, module.pop_context = push_context, pop_context
