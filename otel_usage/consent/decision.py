"""What the gate decided: the shape of it, for type checkers. At run time it is a `types.SimpleNamespace`.

Never loaded; a class would cost every run 65,000 instructions.
"""


class Decision:
    """What may happen in this run.

    mode: ``on``, ``local`` (recorded, never sent), ``off`` or ``log`` (printed, never sent).
    layer: who decided: ``flag``, ``environment``, ``machine``, ``stored`` or ``default``; source: the variable, file or
    rule. overruled: under an explicit off, the mode that the user asked for all the same, or "".
    home: the folder of this app, "" where there is none. ci: vendor of the CI system, or "".
    since_s: Unix seconds; nothing begun earlier may be sent. notice: a notice, or the question, is due.
    """

    mode: str
    layer: str
    source: str
    overruled: str
    home: str
    ci: str
    since_s: int
    notice: bool

    def __init__(
        self, *, mode: str, layer: str, source: str, overruled: str, home: str, ci: str, since_s: int, notice: bool
    ) -> None: ...
