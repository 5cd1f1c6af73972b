"""Actions, errors, heartbeats and counts: what is declared arrives, the rest is dropped and counted."""

import pytest

import otel_usage
from otel_usage.schema.fields import accept, bucket_label, bucket_labels, fit

from ..hosts import Host

HEAD = """
import sys, time
import otel_usage
schema = {
    "report.upload": {"why": "x", "fields": {"format": ["pdf", "html"], "retried": bool,
        "size": otel_usage.bucket("MB", 1, 10), "pages": otel_usage.integer(500), "engine": otel_usage.version()}},
    "events.handled": {"kind": "count", "why": "x", "fields": {"channel": ["slack", "discord"]}},
    "config.invalid": {"kind": "error", "why": "x", "fields": {"retried": bool}},
    "alive": {"kind": "heartbeat", "why": "x", "fields": {"pages": otel_usage.integer(9)}},
}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema, flush_s={flush_s})
usage.command("scan")
"""


def record(host: Host, source: str, flush_s: float = 60.0):
    """Run *source* and return its spans, without the run."""
    ended = host.run(HEAD.replace("{flush_s}", repr(flush_s)) + source)
    assert (0, b"", b"") == (ended.status, ended.out, ended.err), ended.err.decode()
    return [span for span in host.spans if span.attributes["usage.kind"] != "run"]


def dropped(host: Host) -> dict[str, int]:
    return {dict(key)["reason"]: n for (name, key), n in host.counts.items() if name == "usage.dropped"}


def test_an_action(host):
    """An action is a child span of the run, named after it, with its declared fields."""
    (action,) = record(
        host, "usage.action('report.upload', format='pdf', retried=True, size=3.5, pages=7, engine='3.11')"
    )
    run = host.the_run

    assert "report.upload" == action.name
    assert {
        "usage.kind": "action",
        "usage.action": "report.upload",
        "usage.field.format": "pdf",
        "usage.field.retried": True,
        "usage.field.size": "1-10 MB",
        "usage.field.pages": 7,
        "usage.field.engine": "3.11",
    } == action.attributes
    assert (run.ids[0], run.ids[1]) == (action.ids[0], action.ids[2])
    assert run.start_ns <= action.start_ns == action.end_ns
    assert not action.failed


def test_what_has_expired_is_not_recorded(host):
    """``until``: recorded on its last day, in UTC; afterwards dropped, counted, and no error in a host's tests."""
    code = (
        "day = time.strftime('%Y-%m-%d', time.gmtime())\n"
        "usage.settings['schema'].update({'old.one': {'why': 'x', 'until': '2026-01-31'},"
        " 'last.day': {'why': 'x', 'until': day}})\n"
        "usage.action('old.one')\n"
        "usage.action('last.day')\n"
        "from otel_usage.schema.declaration import check_event\n"
        "check_event(usage.settings['schema'], 'action', 'old.one', {})\n"
    )

    assert ["last.day"] == [span.name for span in record(host, code)]
    assert {"expired": 1} == dropped(host)


def test_an_action_that_takes_time(host):
    """As a context manager an action has a duration, and fields that are known later."""
    (action,) = record(host, "with usage.action('report.upload') as a:\n time.sleep(0.01)\n a.set(format='html')\n")

    assert action.end_ns - action.start_ns >= 10_000_000
    assert "html" == action.attributes["usage.field.format"]


@pytest.mark.parametrize(
    ("raised", "failed", "error"),
    [
        ("ValueError('x')", True, "ValueError"),
        ("SystemExit(3)", False, None),
        ("KeyboardInterrupt", True, "KeyboardInterrupt"),
    ],
)
def test_an_action_that_fails(host, raised, failed, error):
    """An exception makes an action fail, under its class, and goes on."""
    source = f"try:\n with usage.action('report.upload'):\n  raise {raised}\nexcept BaseException: pass\n"
    (action,) = record(host, source)

    assert (failed, error) == (action.failed, action.attributes.get("error.type"))


def test_an_error_and_a_heartbeat(host):
    """An error fails, by its code; a heartbeat is called what it is declared as."""
    error, beat = record(host, "usage.error('config.invalid', retried=False)\nusage.heartbeat('alive', pages=3)\n")

    assert ("config.invalid", True, "config.invalid") == (error.name, error.failed, error.attributes["usage.error"])
    assert "config.invalid" == error.attributes["error.type"]
    assert ("alive", False) == (beat.name, beat.failed)
    assert {"usage.kind": "heartbeat", "usage.heartbeat": "alive", "usage.field.pages": 3} == beat.attributes


def test_counts_add_up(host):
    """Counts are summed by their fields and written once."""
    record(host, "for c in ('slack', 'discord', 'slack'): usage.count('events.handled', 2, channel=c)\n"
                 "usage.count('events.handled')\n")  # fmt: skip

    name = "usage.count.events.handled"
    assert {
        (name, (("usage.field.channel", "slack"),)): 4,
        (name, (("usage.field.channel", "discord"),)): 2,
        (name, ()): 1,
    } == host.counts
    [file] = host.files("new", ".metrics.jsonl")
    assert '"unit":"{item}"' in file.read_text()


DROPPED = {
    "usage.action('nope')": {"undeclared": 1},
    "usage.count('report.upload')": {"undeclared": 1},
    "usage.error('nope', x=1)": {"undeclared": 1},
    "usage.action('report.upload', nope=1)": {"undeclared_field": 1},
    "usage.action('report.upload', format='doc')": {"value": 1},
    "usage.action('report.upload', format=None, retried=1, size='x', pages=-1, engine='a.b')": {"value": 5},
    "usage.count('events.handled', -1)": {"value": 1},
    "usage.count('events.handled', 1.5)": {"value": 1},
    "usage.count('events.handled', True)": {"value": 1},
    "usage.count('events.handled', channel=[])": {"value": 1},
    "usage.count(['x'])": {"value": 1},
    "for _ in range(600): usage.action('report.upload')": {"limit": 88},
}


@pytest.mark.parametrize("source", DROPPED)
def test_what_is_not_declared_is_dropped_and_counted(host, source):
    """Each reason is a counter of its own."""
    record(host, source + "\n")

    assert DROPPED[source] == dropped(host)


def test_a_dropped_field_leaves_the_action(host):
    """An action is recorded without the field that did not fit."""
    (action,) = record(host, "usage.action('report.upload', format='doc', retried=True)\n")

    assert {"usage.field.retried"} == {key for key in action.attributes if key.startswith("usage.field.")}


def test_a_run_without_counts_has_no_metrics_file(host):
    """A run without counts has no metrics file."""
    assert [] == record(host, "pass\n")
    assert [] == host.files("new", ".metrics.jsonl")


def test_flushing(host):
    """What is flushed is written at once, and once."""
    source = """
import glob, os
def files(): return len(glob.glob(os.environ["OTEL_USAGE_HOME"] + "/prog/1/new/*"))
usage.action("report.upload"); usage.count("events.handled")
assert files() == 0
usage.flush()
assert files() == 2
usage.flush()
assert files() == 2
usage.count("events.handled")
"""
    assert 1 == len(record(host, source))
    assert {("usage.count.events.handled", ()): 2} == host.counts


def test_open_actions_wait(host):
    """An action that is not over is not flushed with the others, and is written when it is."""
    source = "with usage.action('report.upload') as a:\n usage.flush(); a.set(format='pdf')\n"
    (action,) = record(host, source)

    assert "pdf" == action.attributes["usage.field.format"]


def test_long_running_programs_flush_by_themselves(host):
    """After *flush_s* the next record hands over what there is."""
    source = """
import glob, os
end = time.monotonic() + 10
while not glob.glob(os.environ["OTEL_USAGE_HOME"] + "/prog/1/new/*") and time.monotonic() < end:
    usage.count("events.handled")
assert time.monotonic() < end
"""
    record(host, source, flush_s=0.01)

    assert host.files("new", ".metrics.jsonl")


def test_counters_are_bounded(host):
    """Combinations of fields beyond a limit are dropped and counted."""
    source = HEAD.replace("{flush_s}", "60.0").replace(
        '"alive":', '"many": {"kind": "count", "why": "x", "fields": {"n": otel_usage.integer(10000)}},\n"alive":'
    )
    host.run(source + "for n in range(1000): usage.count('many', n=n)\n")

    assert {"limit": 488} == dropped(host)
    assert 513 == len(host.counts)


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        (["a", "b"], "a", "a"),
        (["a", "b"], "c", None),
        (["1"], 1, None),
        (bool, True, True),
        (bool, 1, None),
        ("bool", False, False),
        (otel_usage.integer(10), 0, 0),
        (otel_usage.integer(10), 11, 10),
        (otel_usage.integer(10), -1, None),
        (otel_usage.integer(10), True, None),
        (otel_usage.integer(10), 1.0, None),
        (otel_usage.version(), "3.11.7", "3.11.7"),
        (otel_usage.version(), "1.2.3.4.5", None),
        (otel_usage.version(), "1.2b1", None),
        (otel_usage.version(), "", None),
        (otel_usage.version(), "1..2", None),
        (otel_usage.version(), "1234567", None),
        (otel_usage.version(), "\u0661.\u0662", None),  # digits, but not ours
        (otel_usage.bucket("s", 1, 2), float("nan"), None),
        (otel_usage.bucket("s", 1, 2), float("inf"), ">=2 s"),
        (otel_usage.bucket("s", 1, 2), float("-inf"), "<1 s"),
        (otel_usage.bucket("s", 1, 2), "1", None),
    ],
    ids=repr,
)
def test_values_fit_their_type_or_are_dropped(declared, value, expected):
    """Types are closed: nothing is converted, and nothing else passes."""
    assert (expected, type(expected)) == (fit(declared, value), type(fit(declared, value)))


@pytest.mark.parametrize(
    ("value", "label"), [(0.5, "<1 MB"), (1, "1-10 MB"), (9.99, "1-10 MB"), (10, ">=10 MB"), (10**400, ">=10 MB")]
)
def test_buckets(value, label):
    """A number is recorded as the range that it falls in, lower bound included."""
    declared = otel_usage.bucket("MB", 1, 10)

    assert label == bucket_label(declared, value)
    assert label in bucket_labels(declared)


def test_accept_never_returns_what_was_not_declared():
    """The allow-list gives back declared names only."""
    schema = {"a": {"why": "x", "fields": {"f": ["v"]}}}

    assert ([("f", "v")], ["undeclared_field"]) == accept(schema, "action", "a", {"f": "v", "g": "v"})
    assert (None, ["undeclared"]) == accept(schema, "count", "a", {"f": "v"})
