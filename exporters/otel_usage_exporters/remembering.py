"""Which memory an exporter uses: a file of its service's folder, or, in a relay, one for all installations.

With a folder, all exporters of a process that write into it remember together. Without one, or when an exporter only
rehearses, it remembers alone, or together with the exporter of its destination's other signal.
"""

from __future__ import annotations

from typing import ClassVar

from .compact_memory import CompactMemory
from .identity import folder_of
from .memory import Memory
from .vendor import Vendor

Memories = dict[tuple[str, str], Memory]  # by folder and name

_shared: Memories = {}  # of all exporters of this process


class Remembering:
    """What an exporter is that remembers things between deliveries. See the head of this module."""

    vendor_class: ClassVar[type[Vendor]]
    _memories: Memories  # of this exporter alone
    _rehearses: bool = False

    def share_memory(self, other: Remembering) -> None:
        """Remember together with *other*, without a folder: the exporter of the same destination's other signal."""
        self._memories = other._memories

    def remember_in(self, path: str) -> None:
        """Keep what is remembered without a folder in the file at *path*. Raises SettingError if it can't be used."""
        self._memories["", self.vendor_class.memory_name] = CompactMemory(path)

    def close_memory(self) -> None:
        """Let go of the file of `remember_in`, if there is one, once nothing is delivered any more."""
        for memory in self._memories.values():
            memory.close()

    def _memory_key(self, vendor: Vendor, app: str) -> tuple[str, str]:
        return folder_of(vendor.common, app), vendor.memory_name

    def _memory(self, vendor: Vendor, app: str) -> Memory:
        key = folder, name = self._memory_key(vendor, app)
        memories = _shared if folder and not self._rehearses else self._memories
        if key not in memories:
            # Without a folder: a relay, which hears from all installations. Nor with users, who are more than a file can hold.
            file = folder and not vendor.common.choice.user
            memories.setdefault(key, Memory(folder, name, writes=not self._rehearses) if file else CompactMemory())
        return memories[key]
