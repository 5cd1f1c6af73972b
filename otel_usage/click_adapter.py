"""Tell a run which click or typer command and options were given.

Ring 0 (foreground): loaded at the first context. Typer's own copy of click has the same shape, and is served too.
"""

import sys
from _weakref import ref

from .recorder import Run, guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

MAX_CHAINED = 8


class _Invocation:
    """The outermost invocation. Click pushes each context first to parse, and later, more than once, to invoke.

    The two functions observed, ``push_context`` and ``pop_context``, return before and after code of the host runs.
    Only contexts that are parsed count: ``ctx.invoke(other)`` is the host's own affair.
    """

    def __init__(self, run, current):
        # type: (Run, Callable[..., Any]) -> None
        self.run = run
        self.current = current
        self.root: ref[Any] | None = None
        self.parsing: ref[Any] | None = None
        self.parsed: list[tuple[ref[Any], dict[str, Any]]] = []  # with the commands it declared before it parsed
        self.handled: object = None  # id of the exception being handled when the program was called
        self.chained: list[str] = []

    def pushed(self, context):
        # type: (Any) -> None
        if context._depth != 2 or context.resilient_parsing or any([known() is context for known, _ in self.parsed]):
            return
        top = context
        while top.parent is not None:
            top = top.parent
        if self.root is None:
            if self.run.settled:
                return
            self.run.settled = True
            self.root = ref(top)
            self.handled = id(sys.exc_info()[1])
        if self.root() is not top:
            return
        self.parsing = ref(context)
        self.parsed.append((self.parsing, {**(getattr(context.command, "commands", None) or {})}))
        self.run.parsed = ""
        words: list[str] = []
        command = context.command
        while context.parent is not None:
            word = self.word(context)
            if getattr(context.parent.command, "chain", False):
                if word not in self.chained and len(self.chained) < MAX_CHAINED:
                    self.chained.append(word)
                word = "+".join(self.chained)
            words.insert(0, word)
            context = context.parent
        # A group without a callback of its own goes straight on to its sub-command.
        self.run.named(tuple(words), final=command.callback is not None)

    def popping(self):
        # type: () -> None
        context = self.current(silent=True)
        if context is None or self.root is None:
            return
        raised = sys.exc_info()[1]
        if id(raised) == self.handled:
            raised = None
        # Since click 8.5 it is pushed once more around a parameter's callback: parsing has gone on, one deeper.
        parsed = context._depth == 1 and self.parsing is not None and self.parsing() is context
        if parsed:
            self.parsing = None
            for parameter in context.command.params:
                if parameter.param_type_name == "option":
                    source = context.get_parameter_source(parameter.name)
                    if source is not None and source.name == "COMMANDLINE":
                        self.run.given(max(parameter.opts, key=len))
        if parsed or self.root() is context:
            self.left(raised, parsed)

    def left(self, raised, parsed):
        # type: (BaseException | None, bool) -> None
        """Note the exception that leaves the program, or its parsing: click 8.5 forgets it before it exits."""
        self.run.noted = ("", "")
        if raised is None or isinstance(raised, SystemExit):
            return
        code = getattr(raised, "exit_code", None)
        if type(raised).__name__ == "Exit" and code == 0:
            if parsed:
                self.run.parsed = "help"
            return
        if parsed and code is not None:
            self.run.parsed = "usage_error"
        from .failure import error_type, outcome_of

        outcome = outcome_of(raised) or ("interrupted" if isinstance(raised, EOFError) else "")
        self.run.noted = (error_type(raised, self.run.package), outcome)

    def word(self, context):
        # type: (Any) -> str
        """Return the declared name of a sub-command: what the user typed only if the program lists it."""
        group, typed, command = context.parent.command, context.info_name, context.command
        before: dict[str, Any] = {}
        for known, declared in self.parsed:
            if known() is context.parent:
                before = declared
        if before.get(typed) is command:
            return str(typed)
        for name, other in before.items():
            if other is command:
                return str(name)
        for name in (typed, command.name):
            if name in before or name in _listed(group, context.parent, before):
                return str(name)
        return "(unknown)"


def _listed(group, context, before):
    # type: (Any, Any, dict[str, Any]) -> Sequence[str]
    """Return the commands that a lazy or custom *group* lists, and would list had it not seen what was typed.

    before: the commands it had by then.
    """
    kind: Any = type(group)
    ask = getattr(kind, "list_commands", None)
    if ask is None or (ask.__module__, ask.__qualname__) == ("click.core", "Group.list_commands"):
        return ()  # click's own lists what is in *before*
    try:
        same: Any = object.__new__(kind)
        same.__dict__.update(group.__dict__, commands=before)
        return list(ask(same, context))
    except (Exception, SystemExit):
        return ()


def install(run, module, push):
    # type: (Run, Any, Callable[[Any], None]) -> None
    """Observe the contexts of *module*, ``click.core`` or typer's. push: its own push_context."""
    pop = module.pop_context
    invocation = _Invocation(run, push.__globals__["get_current_context"])

    def push_context(context):
        # type: (Any) -> None
        push(context)
        guarded(invocation.pushed, context)

    def pop_context():
        # type: () -> None
        guarded(invocation.popping)
        pop()

    module.push_context, module.pop_context = push_context, pop_context
