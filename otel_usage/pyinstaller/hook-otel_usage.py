"""Name for PyInstaller the modules that are loaded by name at run time: `_load` of the front door hides them from it.

They are those that record, and those behind the mounted commands. What only sends is left out unless those commands need
it, as no sender can be started in a frozen program.
"""

from PyInstaller.utils.hooks import collect_submodules

FOLDERS = ("consent", "control", "recording", "settings", "spool")
MODULES = ("aliases", "setting_error")

hiddenimports = [f"otel_usage.{module}" for module in MODULES]
for folder in FOLDERS:
    hiddenimports += collect_submodules(f"otel_usage.{folder}")
