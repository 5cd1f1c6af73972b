"""No public call raises at a user's, whatever it is passed: what is of no use is dropped, counted, and an error in tests."""

import pytest

from ..hosts import INTERPRETERS, version_of

HEAD = """
import sys, otel_usage
schema = {"n": {"kind": "count", "why": "x", "fields": {"size": otel_usage.integer(9), "on": bool, "to": ["a", "b"],
          "mb": otel_usage.bucket("MB", 1), "of": otel_usage.version()}},
          "bad": {"kind": "error", "why": "x", "fields": {"to": ["a", "b"]}}, "did": {"why": "x", "fields": {"to": ["a"]}},
          "alive": {"kind": "heartbeat", "why": "x"}}
usage = otel_usage.init("prog", version="1", consent="opt-in", schema=schema)
"""

# Objects whose every answer is a fault, or a lie.
LIARS = """
class Liar:
    def fail(self, *a, **k): raise RuntimeError("the host's own")
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __hash__ = __str__ = __repr__ = __len__ = __bool__ = fail
    __iter__ = __int__ = __float__ = __index__ = __call__ = __contains__ = __format__ = __add__ = __radd__ = fail
    __class__ = property(fail)
class LiarText(str):
    def fail(self, *a, **k): raise RuntimeError("the host's own")
    __eq__ = __hash__ = __str__ = __repr__ = __len__ = __iter__ = split = fail
class LiarNumber(int):
    def fail(self, *a, **k): raise RuntimeError("the host's own")
    __eq__ = __hash__ = __lt__ = __gt__ = __le__ = __ge__ = __pos__ = __index__ = __int__ = fail
class LiarFloat(float):
    def fail(self, *a, **k): raise RuntimeError("the host's own")
    __eq__ = __hash__ = __lt__ = __gt__ = __le__ = __ge__ = __pos__ = __float__ = __ne__ = fail
from unittest.mock import MagicMock
odd = [None, 1, -1, 1 << 99, 1.5, float("nan"), float("inf"), True, "", "x", "\\ud800", "did", "n", b"n", [], ["n"], {}, {"to": "a"},
       (), set(), object(), int, print, ValueError("x"), Liar(), LiarText("n"), LiarText("a"), LiarNumber(3), LiarFloat(3.5),
       MagicMock(), otel_usage, usage, lambda: 0, range(3), complex(1), bytearray(b"x"), ..., type]
"""

CALLS = (
    LIARS
    + """
recorders = [usage, otel_usage]
def all_calls():
    for of in recorders:
        for method in (of.action, of.count, of.error, of.heartbeat, of.command, of.flush):
            method()
            for value in odd:
                method(value)
                method(value, value)
                method("n", 1, value, value); method("did", value); method("bad", value)
                if method not in (of.flush, of.command):
                    for name in ("n", "did", "bad", "alive", value):
                        method(name, to=value); method(name, size=value, on=value, mb=value, of=value)
                        method(name, name=value, self=value, n=value, kind=value, more=value)
                        method(name, **{"": value, "not a name": value})
                if method == of.count:
                    method("n", value); method("n", value, to="a")
        for value in odd:
            with of.action("did") as did:
                did.set(value); did.set(to=value); did.set(value, to="a", self=value, more=value)
            with of.command("scan") as command: pass
            with of.command(value): pass
all_calls()
usage.flush(); usage.flush(1, 2)
"""
)


@pytest.mark.parametrize("mode", ["on", "off", "local", "log"])
def test_no_call_raises(host, mode):
    """Recorded or not, the program goes on as if it had called nothing, and ends as it would have."""
    ended = host.run(HEAD + CALLS + "usage.shutdown(1)\nall_calls()\nsys.exit(7)\n", env={"PROG_TELEMETRY": mode})

    assert 7 == ended.status, ended.err.decode()
    assert mode == "log" or b"" == ended.err


@pytest.mark.parametrize("python", INTERPRETERS[1:], ids=version_of)
def test_no_call_raises_on_any_python(host, python):
    """The same on every Python."""
    ended = host.run(HEAD + CALLS + "sys.exit(7)\n", python=python)

    assert (7, b"") == (ended.status, ended.err)


def test_what_is_of_no_use_is_counted(host):
    """The message that people pass first is dropped, the error is recorded; what can't be understood is counted."""
    source = """
try:
    int("x")
except ValueError as e:
    usage.error("bad", str(e))
usage.action("did", {"to": "a"})
usage.count("n", 2, 3)
usage.count("n", "three")
usage.count("n", to=[])
usage.heartbeat("alive", 3)
usage.error()
usage.error(["bad"])
"""
    ended = host.run(HEAD + source)
    kinds = [span.attributes["usage.kind"] for span in host.spans]

    assert (0, b"") == (ended.status, ended.err)
    assert ["action", "error", "heartbeat", "run"] == sorted(kinds)
    assert 2 == host.counts[("usage.count.n", ())]
    dropped = {dict(pairs)["reason"]: n for (name, pairs), n in host.counts.items() if name == "usage.dropped"}
    assert {"undeclared_field": 4, "value": 2, "undeclared": 2} == dropped


def test_a_choice_of_an_enumeration_is_a_choice(host):
    """Members of ``class Where(str, Enum)`` and the like are texts, and recorded as such."""
    source = """
import enum
class To(str, enum.Enum):
    A = "a"
class Size(enum.IntEnum):
    BIG = 7
usage.count("n", to=To.A, size=Size.BIG)
usage.count("n", to=To.A, size=Size.BIG)
"""
    host.run(HEAD + source)

    assert 2 == host.counts[("usage.count.n", (("usage.field.size", 7), ("usage.field.to", "a")))]


WRONG = {
    "usage.error('bad', str(ValueError('some text')))": "it takes declared fields by name",
    "usage.error()": "its name is not in the schema",
    "usage.error(['bad'])": "its name is not in the schema",
    "usage.action('did', {'to': 'a'})": "by name",
    "usage.action('did', to='z')": "not one of 'a'",
    "usage.count('n', 2, 3)": "a whole number",
    "usage.count('n', 'three')": "a whole number, and fields by name, not 'three'",
    "usage.count('n', -1)": "not -1",
    "usage.count('n', to=[])": "not one of",
    "usage.heartbeat('alive', 3)": "by name",
    "usage.action('did').set('a')": "",
    "usage.command(sys.argv[0])": "not a literal",
    "usage.command(None)": "not a literal",
    "usage.command('scan', 2)": "would be recorded as",
}


@pytest.mark.parametrize("mode", ["on", "off"])
@pytest.mark.parametrize("call", [call for call in WRONG if ".set(" not in call])
def test_in_development_it_is_an_error(host, call, mode):
    """Where wrong settings are errors, so are these calls, whether or not the run is recorded; the text says what to do."""
    ended = host.run(HEAD + call + "\n", env={"PROG_TELEMETRY": mode, "OTEL_USAGE_STRICT": "1"})

    assert 1 == ended.status
    assert "otel_usage.SettingError: " in ended.err.decode()
    assert WRONG[call] in ended.err.decode()


def test_in_tests_it_is_an_error():
    """Under `captured` too, for an action's later fields as well."""
    import otel_usage
    from otel_usage.testing import captured

    before = vars(otel_usage._usage).copy()
    otel_usage._usage.settings = {"flush_s": 60, "schema": {"did": {"why": "x", "fields": {"to": ["a"]}}}}
    try:
        with captured() as events, otel_usage.action("did") as did:
            for call in (lambda: did.set("a"), lambda: did.set(to="b"), lambda: otel_usage.error("did", "text")):
                with pytest.raises(otel_usage.SettingError):
                    call()
            did.set(to="a")
        assert [{"to": "a"}] == [event.fields for event in events]
    finally:
        vars(otel_usage._usage).clear()
        vars(otel_usage._usage).update(before)


def test_commands_of_a_table(host):
    """A word that the calling function holds is a name, in development too."""
    source = "word = sys.argv[1]\nif word in ('scan', 'list'):\n    usage.command(word)\n"
    ended = host.run(HEAD + source, "list", env={"OTEL_USAGE_STRICT": "1"})

    assert (0, "list") == (ended.status, host.the_run.command)


SETTINGS = {
    "app": ["[]", "None", "5", "{}", "''", "'A b'", "b'x'"],
    "version": ["None", "[]", "1.5", "object()"],
    "consent": ["None", "'optout'", "[]", "True"],
    "destinations": ["[]", "'otlp'", "5", "{1: 2}", "{'otlp': object()}"],
    "schema": ["[]", "'x'", "{1: 2}", "{'x': 3}", "{'n': {'fields': 3}}"],
    "sender": ["None", "'inlin'", "[]"],
    "policy": ["None", "'x'", "-1"],
    "about": ["None", "5"],
    "flush_s": ["None", "'x'", "-1", "float('nan')"],
    "service": ["None", "0", "[]"],
    "flag": ["None", "5", "[]", "'x'"],
}


@pytest.mark.parametrize("keyword", SETTINGS)
def test_odd_settings(host, keyword):
    """`init` raises at no user's, and neither does what is called afterwards; the program's end is its own."""
    for value in SETTINGS[keyword]:
        source = f"""
import sys, otel_usage
settings = dict(app="prog", version="1", consent="opt-in", schema={{"n": {{"kind": "count", "why": "x"}}}})
settings[{keyword!r}] = {value}
usage = otel_usage.init(settings.pop("app"), **settings)
usage.count("n"); usage.action("n"); usage.error("x", 1); usage.command("scan"); usage.flush()
print(usage.run(lambda: 5))
sys.exit(7)
"""
        ended = host.run(source)

        assert (7, b"5\n", b"") == (ended.status, ended.out, ended.err), (keyword, value)
    (host.home / "debug" / "faults.log").unlink(missing_ok=True)  # a schema that is none: a fault that is noted


SHAPES = [
    "otel_usage.init()",
    "otel_usage.init('prog')",
    "otel_usage.init('prog', version='1', consnet='opt-in')",
    "otel_usage.init('prog', '1', 'opt-in')",
    "otel_usage.bucket()",
    "otel_usage.bucket(unit='MB', bounds=3)",
    "otel_usage.integer()",
    "otel_usage.integer(1, 2)",
    "otel_usage.version(1)",
    "otel_usage.retired()",
    "otel_usage.mount()",
    "otel_usage.show_flag()",
    "usage.run()",
]


@pytest.mark.parametrize("mode", ["on", "off"])
def test_calls_that_set_up_have_a_shape(host, mode):
    """A missing or surplus argument is Python's own error, at each start, whatever the user said; the program may go on."""
    source = "".join(f"try:\n    {call}\n    print({call!r})\nexcept TypeError:\n    pass\n" for call in SHAPES)
    ended = host.run(HEAD + source + "sys.exit(7)\n", env={"PROG_TELEMETRY": mode})

    assert (7, b"", b"") == (ended.status, ended.out, ended.err)


def test_helpers_take_any_value(host):
    """What is no bound or unit makes a type that nothing fits: the value is dropped, and the program goes on."""
    source = (
        LIARS
        + """
import os
for i, value in enumerate(odd):
    fields = {"a": otel_usage.bucket(value), "b": otel_usage.bucket("MB", value), "c": otel_usage.integer(value)}
    os.environ[f"PROG{i}_TELEMETRY"] = "on"
    other = otel_usage.init(f"prog{i}", version="1", consent="opt-in",
                            schema={"m": {"kind": "count", "why": "x", "fields": fields}, "d": {"why": "x", "fields": fields}})
    assert other.recording
    for n in (1, 2.5, "x", value):
        other.count("m", a=n, b=n, c=n); other.action("d", a=n, b=n, c=n)
    other.flush()
sys.exit(7)
"""
    )
    ended = host.run(HEAD + source)

    assert (7, b"") == (ended.status, ended.err), ended.err.decode()
    (host.home / "debug" / "faults.log").unlink(missing_ok=True)  # types that are none: faults that are noted
