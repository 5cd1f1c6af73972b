"""What ``otel-usage verify`` found out: the shape of it, and the complaint that it is, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_LINE_CHARS, MAX_LINES = 200, 40  # of what is printed of the observations; --json has all of them


@dataclass
class Findings:
    """What a program does only because of us. The names are those of ``verify --json``.

    only_with_us: (kind, what) of each thing that it does with us alone; none is the proof that off is off.
    allowed: what it takes to decide, which it may do: reading our own code, and where a choice may be kept.
    decided_by: (layer, source) of the switch at proof, None if nobody says off. set_aside: other switches and variables,
    which were left out of it. exit_codes: with us and without. proved_nothing: why nothing was proved, or "".
    hint: what to do about it, in words, or "".
    """

    only_with_us: list[tuple[str, str]] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    watched_by: list[str] = field(default_factory=list)
    exit_codes: tuple[int, int] = (0, 0)
    decided_by: tuple[str, str] | None = None
    set_aside: list[str] = field(default_factory=list)
    hint: str = ""
    proved_nothing: str = ""

    @property
    def clean(self) -> bool:
        """True if off is off."""
        return not self.only_with_us and not self.proved_nothing

    def complaint(self, command_line: str) -> str:
        """Return what is wrong, in words; "" if off is off. command_line: the program's, as the user knows it."""
        if self.proved_nothing:
            return f"proved nothing: {self.proved_nothing}"
        if not self.only_with_us:
            return ""
        lines = [f"off is NOT off: only with us, `{command_line}` does this:"]
        for kind, what in self.only_with_us[:MAX_LINES]:
            if kind == "exit":
                what += f", without us {self.exit_codes[1]}"
            lines.append(f"  {kind:8} {what if len(what) <= MAX_LINE_CHARS else what[: MAX_LINE_CHARS - 1] + '…'}")
        if len(self.only_with_us) > MAX_LINES:
            lines.append(f"  … and {len(self.only_with_us) - MAX_LINES} more")
        return "\n".join([*lines, self.hint] if self.hint else lines)
