"""For hosts' tests: every run that a test makes of its program, in the test's own process.

A program's process has one run; a test may call ``CliRunner().invoke(app, …)``, or ``main([…])``, many times. Each outermost
call of a framework is taken for a run. What the adapters see is the same; how a run ends is known only as far as the
framework decides it, since a test catches whatever comes out.
"""

import sys

from . import argparse_adapter, click_adapter
from .run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class CapturedRuns:
    """Observes click, typer and argparse from `watch` to `unwatch`. runs: oldest first."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._originals: list[tuple[Any, str, Any]] = []

    def watch(self) -> None:
        """Begin to observe the frameworks that are imported."""
        for name in ("click.core", "typer._click.core"):
            if name in sys.modules:
                self._watch_click(sys.modules[name])
        if "argparse" in sys.modules:
            self._watch_argparse(sys.modules["argparse"])

    def unwatch(self) -> None:
        """Leave the frameworks as they were."""
        while self._originals:
            setattr(*self._originals.pop())

    def _new_run(self) -> Run:
        self.runs.append(Run(None, None))
        return self.runs[-1]

    def _replace(self, owner: "Any", name: str, replacement: "Any") -> "Any":
        """Put *replacement* in the place of an attribute until `unwatch`, and return that. Any: a framework's."""
        original = getattr(owner, name)
        self._originals.append((owner, name, original))
        setattr(owner, name, replacement)
        return original

    def _watch_click(self, module: "Any") -> None:
        state: Any = None

        def push_context(context: "Any") -> None:
            nonlocal state
            root = context
            while root.parent is not None:
                root = root.parent
            if (state is None or state.root is None or state.root() is not root) and not context.resilient_parsing:
                state = click_adapter.new_state(self._new_run(), push.__globals__["get_current_context"])
            push(context)
            if state is not None:
                click_adapter.pushed(state, context)

        def pop_context() -> None:
            if state is not None:
                click_adapter.popping(state)
            pop()

        push = self._replace(module, "push_context", push_context)
        pop = self._replace(module, "pop_context", pop_context)

    def _watch_argparse(self, module: "Any") -> None:
        parsers = module.ArgumentParser
        run: Run | None = None

        def parse_args(parser: "Any", *args: "Any", **more: "Any") -> "Any":
            nonlocal run
            if run is not None:  # a parser that is called while another one parses is the program's own affair
                return parse(parser, *args, **more)
            run = self._new_run()
            argparse_adapter.forget_parse()
            pattern = parsers._get_nargs_pattern
            try:
                argparse_adapter.began(run, module, "parse_args", parser)
                return parse(parser, *args, **more)
            except SystemExit as exc:
                run.parsing_outcome = "usage_error" if exc.code else "help"
                raise
            finally:
                run, parsers._get_nargs_pattern = None, pattern
                argparse_adapter.forget_parse()

        def _parse_known_args(parser: "Any", *args: "Any", **more: "Any") -> "Any":
            if run is not None:
                argparse_adapter.began(run, module, "_parse_known_args", parser)
            return parse_known(parser, *args, **more)

        parse = self._replace(parsers, "parse_args", parse_args)
        parse_known = self._replace(parsers, "_parse_known_args", _parse_known_args)


def outcome_of(run: Run) -> str:
    """Return how a run ended, as far as its framework has decided it: success, failure, usage_error, interrupted or help."""
    error, outcome = run.framework_error
    return run.parsing_outcome or outcome or ("failure" if error else "success")
