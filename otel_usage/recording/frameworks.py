"""Have a command-line framework tell the run what is called, whenever the program imports it.

ALGORITHM
1. A framework that is imported already is hooked at once.
2. For the others, the run stands first in ``sys.meta_path``. When one of them is about to be imported, its spec is found
   by the other finders, and made to tell us when the import is done: see `_when_imported`. While it is being imported
   the run steps out of ``sys.meta_path``: a framework imports dozens of modules, and a finder more costs each of them
   5,000 instructions. What was imported in that time (by another thread) is hooked when the run comes back.
3. A hook changes as little of the framework as it can, and loads the framework's adapter only when the program first
   uses it: many programs import argparse and never parse.

No frame of ours encloses code of the program: what is observed are functions that return before it runs.

To add a framework: docs/contributing/add-a-framework.md.
"""

import sys

from .. import _guarded
from .exit_watch import call_guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from .run import Run


def _hook_argparse(run, module):
    # type: (Run, ModuleType) -> None
    class Seen:  # made in here, since a class costs 65,000 instructions, and many programs have no argparse
        """A method that tells when it is looked up on an instance, and otherwise is the method itself.

        So nothing of ours is on the stack while the program's code runs.
        """

        def __init__(self, name):
            # type: (str) -> None
            self.name = name
            self.function = module.ArgumentParser.__dict__[name]

        def __get__(self, instance, owner=None):
            # type: (object, object) -> Any
            if instance is not None:
                call_guarded("recording.argparse_adapter", "began", run, module, self.name, instance)
            return self.function.__get__(instance, owner)

        def __getattr__(self, name):
            # type: (str) -> Any
            return getattr(self.function, name)

    for name in ("_parse_known_args", "parse_args"):
        setattr(module.ArgumentParser, name, Seen(name))


def _hook_click(run, module):
    # type: (Run, Any) -> None
    push = module.push_context

    def first(context):
        # type: (object) -> None
        module.push_context = push  # whatever happens next, the program has click as it was
        call_guarded("recording.click_adapter", "install", run, module, push)
        module.push_context(context)

    module.push_context = first


# {module of a framework: what hooks it; None for the adapter of its package's name, cleo_adapter.py of cleo.application}.
# Typer has a copy of click of its own since 0.20.
HOOKS = {
    "argparse": _hook_argparse,
    "click.core": _hook_click,
    "typer._click.core": _hook_click,
    "asyncclick.core": _hook_click,
    "absl.app": None,
    "cleo.application": None,
    "cliff.help": None,
    "cyclopts.core": None,
    "django.core.management": None,
    "docopt": None,
    "fire.core": None,
    "invoke.program": None,
    "optparse": None,
    "plumbum.cli.application": None,
    "scrapy.commands": None,
}  # type: dict[str, Callable[[Run, ModuleType], None] | None]


def hook_frameworks(run):
    # type: (Run) -> None
    """Have every framework that is or will be imported tell *run* what is called."""
    for name in HOOKS:
        module = sys.modules.get(name)
        if module is not None and name not in run.hooked:
            if getattr(module.__spec__, "_initializing", False):  # half imported, by another thread or above us
                _guarded(_when_imported, run, module.__spec__)
            else:
                run.hooked.append(name)
                hook = HOOKS[name]
                if hook is None:
                    call_guarded(f"recording.{name.partition('.')[0]}_adapter", "install", run, module)
                else:
                    _guarded(hook, run, module)
    sys.meta_path.insert(0, run)


def find_framework(run, name, path, target):
    # type: (Run, str, Any, Any) -> Any
    """Return the spec of the framework *name* as the other finders find it, made to hook the module once imported."""
    for finder in sys.meta_path:
        if finder is not run:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _guarded(_when_imported, run, spec)
                return spec
    return None


def _when_imported(run, spec):
    # type: (Run, Any) -> None
    """Have *spec* hook its module as the last step of the import.

    Nothing public tells that an import has ended. The import system sets ``spec._initializing`` to True before it runs
    the module, and to False as its last step, when the module is complete and before the importing code goes on; a spec
    whose class defines ``__setattr__`` sees both. Its class is the original again from then on. A private detail of the
    interpreter: tests/recording/test_interpreter.py fails loudly, on every Python, where it no longer holds.
    """
    plain = type(spec)  # type: Any

    class Telling(plain):  # type: ignore[misc]
        def __setattr__(self, name, value):
            # type: (str, object) -> None
            plain.__setattr__(self, name, value)
            if name == "_initializing":
                if value:
                    if run in sys.meta_path:
                        sys.meta_path.remove(run)
                else:
                    spec.__class__ = plain
                    if run.watching and run not in sys.meta_path:
                        hook_frameworks(run)  # this one too, unless its import has failed

    spec.__class__ = Telling
