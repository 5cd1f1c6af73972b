"""What users see and change: ``otel-usage VERB --app prog``, and mounted into three frameworks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from otel_usage.control.commands import VERBS
from otel_usage.settings.remembered import SECRET, recall, redact_destinations, remember

from ..hosts import PROGRAMS, until
from ..users import PROGRAM, Sink, User, senders, settled

FRAMEWORKS = ("argparse", "click", "typer")


def asked(user: User, verb: str, *words: str, **env: str | None) -> Any:
    """Return what ``otel-usage VERB --json`` prints, as Python has it."""
    ended = user.ours(verb, "--app", "prog", "--json", *words, **env)
    assert (0, b"") == (ended.status, ended.err)
    return json.loads(ended.out)


def sent_once(user: User, sink: Sink) -> None:
    """Have one report recorded and sent."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.ids() and sink.points())
    settled(user)


# -- mounted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_verb_is_mounted_in_one_line(user: User, framework):
    """``prog telemetry …`` offers the same commands in argparse, click and typer, and the host's help lists it."""
    listed = user.prog("--help", T_FRAMEWORK=framework)
    helped = user.prog("telemetry", "--help", T_FRAMEWORK=framework)

    assert b"telemetry" in listed.out
    assert 0 == helped.status
    assert [] == [verb for verb in VERBS if verb.encode() not in helped.out]
    assert b"telemetry" in helped.out.splitlines()[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_mounted_commands_work_and_are_not_recorded(user: User, framework):
    """on, status, off: each works in the host's process, ends with 0, and leaves no record of itself."""
    for verb, word in (("on", b"telemetry is on"), ("status", b"your choice"), ("off", b"telemetry is off")):
        ended = user.prog("telemetry", verb, T_FRAMEWORK=framework)

        assert (0, b"") == (ended.status, ended.err)
        assert word in ended.out
        assert [] == user.spans
    assert ["prog", "prog/consent"] == user.kept


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_wrong_usage_of_a_mounted_command_is_2(user: User, framework):
    """A verb that does not exist ends with 2, as any wrong usage, and is not recorded."""
    ended = user.prog("telemetry", "explode", T_FRAMEWORK=framework, PROG_TELEMETRY="on")

    assert 2 == ended.status
    assert b"explode" in ended.err
    assert [] == user.spans


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_host_with_the_commands_mounted_runs_as_before(user: User, framework):
    """The host's own commands are neither hidden nor slowed: what the commands do is not loaded."""
    ended = user.prog("report", "--to", "x", T_FRAMEWORK=framework, PROG_TELEMETRY="on", PYTHONVERBOSE="1")

    assert 0 == ended.status
    assert b"reported" in ended.out
    assert b"otel_usage.control.app" not in ended.err
    assert "report" == user.the_run.command


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "otel-usage"])
@pytest.mark.parametrize("verb", ["status", "schema"], ids=["a little", "more than a pipe's buffer"])
def test_output_that_nobody_reads_to_its_end(user: User, sink: Sink, framework, verb):
    """``mycli telemetry status | head -1``: no traceback, nothing on stderr, and exit code 1."""
    sent_once(user, sink)
    words, program = (("telemetry", verb), PROGRAM)
    if framework == "otel-usage":
        words, program = ("otel_usage.cli", verb, "--app", "prog"), "-m"
    read, write = os.pipe()
    os.close(read)
    host = user.start(program, *words, stdout=write, env={"T_FRAMEWORK": framework, "T_SINK": sink.address})
    os.close(write)

    _, err = host.communicate()

    assert (1, b"") == (host.returncode, err)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_json_is_understood_before_and_behind_the_verb(user: User, framework):
    """``mycli telemetry --json status`` is ``mycli telemetry status --json``."""
    before = user.prog("telemetry", "--json", "status", T_FRAMEWORK=framework)
    behind = user.prog("telemetry", "status", "--json", T_FRAMEWORK=framework)

    assert 0 == before.status, before.err
    assert json.loads(before.out) == json.loads(behind.out)


# -- status -------------------------------------------------------------------------------------------------------


def test_status_names_who_decided_and_everybody_who_was_overruled(user: User):
    """Contradictory settings are reported, strongest first, and never fatal."""
    user.choose("on", policy=1)

    told = asked(user, "status", DO_NOT_TRACK="1", PROG_TELEMETRY="local", OTEL_USAGE_DISABLED="yes")

    assert ("off", "environment", "DO_NOT_TRACK") == (told["mode"], told["layer"], told["source"])
    assert [
        ("PROG_TELEMETRY", "local", "overruled"),
        ("DO_NOT_TRACK", "off", "decides"),
        ("OTEL_USAGE_DISABLED", "off", "agrees"),
        (str(user.folder / "consent"), "on", "overruled"),
    ] == [(said["source"], said["mode"], said["effect"]) for said in told["settings"]]


def test_status_says_so_in_words(user: User):
    """The same for people: mode, who decided with its value, and who was overruled."""
    user.choose("on")

    ended = user.ours("status", "--app", "prog", DO_NOT_TRACK="true")

    assert b"prog: telemetry is off" in ended.out
    assert b"DO_NOT_TRACK=true in the environment" in ended.out
    assert b"says on, overruled" in ended.out


def test_status_shows_what_waits_what_was_sent_and_what_was_lost(user: User, sink: Sink):
    """Waiting records, last delivery per destination and drops by reason come from the real spool and ledger."""
    sent_once(user, sink)
    user.prog("report", T_SINK=sink.address)
    (user.spool / "new" / "0-0.traces.jsonl").write_text("no OTLP\n")
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 6)
    settled(user)
    user.prog("report", T_SINK=sink.address)

    told = asked(user, "status")

    assert (2, 3) == (told["waiting"]["files"], told["waiting"]["records"])
    assert ("sent", 200) == (
        told["destinations"]["otlp"]["last"]["result"],
        told["destinations"]["otlp"]["last"]["status"],
    )
    assert {"corrupt": 1} == told["dropped"]
    assert told["installation_id"]
    assert told["known"]


@pytest.mark.parametrize("choice", ["on", "noticed"])
def test_status_says_why_an_on_is_paused(user: User, choice):
    """Agreed to less than is collected now: off, and the reason is the notice that was not seen."""
    user.choose(choice, policy=1)

    told = json.loads(user.prog("telemetry", "status", "--json", T_POLICY="2").out)
    words = user.prog("telemetry", "status", T_POLICY="2").out

    assert ("off", True) == (told["mode"], told["notice_due"])
    assert told["reason"].startswith("policy 2: its notice was not seen yet")
    assert b"policy 2: its notice was not seen yet" in words
    assert ["paused"] * (choice == "on") == [said["effect"] for said in told["settings"]]


@pytest.mark.parametrize("said", ["", "on"])
def test_status_without_a_home_folder(user: User, said):
    """Where nothing can be kept nothing is recorded, not even by an explicit on: nobody's choice, and status says so."""
    code = (
        "import sys, os\nos.path.expanduser = lambda path: path\n"  # as for a uid without an entry in passwd
        "from otel_usage.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    env = {"HOME": None, "OTEL_USAGE_HOME": None, "XDG_STATE_HOME": None, "PROG_TELEMETRY": said}

    words = user.run("-c", code, "status", "--app", "prog", env=env)
    told = json.loads(user.run("-c", code, "status", "--app", "prog", "--json", env=env).out)

    assert ("off", "nowhere", "no home folder") == (told["mode"], told["layer"], told["source"])
    assert b"set HOME or OTEL_USAGE_HOME" in words.out
    assert b"/consent" not in words.out
    assert [("PROG_TELEMETRY", "overruled")] * bool(said) == [(s["source"], s["effect"]) for s in told["settings"]]


def test_status_where_nothing_can_be_written(user: User):
    """An on is one in name only where the folder can't be made; looking leaves nothing."""
    words = user.ours("status", "--app", "prog", PROG_TELEMETRY="on", OTEL_USAGE_HOME="/proc/nope")
    told = asked(user, "status", PROG_TELEMETRY="on", OTEL_USAGE_HOME="/proc/nope")
    fine = asked(user, "status", PROG_TELEMETRY="on")

    assert b"telemetry is on (but nothing can be recorded)" in words.out
    assert b"'/proc/nope/prog' can't be used" in words.out
    assert "can't be used" in told["reason"]
    assert fine["reason"] is None
    assert [] == user.kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_status_where_the_folder_is_another_users(user: User):
    """What is not this user's is not written to: as the recorder sees it."""
    user.choose("on")
    os.chown(user.folder, 12345, 12345)

    told = asked(user, "status")

    assert "another user's" in told["reason"]


def test_status_of_a_program_that_nobody_knows(user: User):
    """Nothing stored, nothing sent: off, and honest that the default is not known. Leaves nothing behind."""
    ended = user.ours("status", "--app", "prog")

    assert 0 == ended.status
    assert b"not known" in ended.out
    assert [] == user.kept


def test_an_app_name_that_is_none_is_wrong_usage(user: User):
    """``--app ../x`` is refused with 2: it names a folder."""
    ended = user.ours("forget", "--app", "../x")

    assert 2 == ended.status


# -- on, off, local -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mounted", [True, False])
def test_after_off_nothing_is_left_but_the_choice(user: User, sink: Sink, mounted):
    """Records, queues, ledger, settings and id are gone; later runs leave nothing and start nothing."""
    sent_once(user, sink)
    user.prog("report")
    assert (user.folder / "id").exists()
    assert user.files()

    ended = user.prog("telemetry", "off") if mounted else user.ours("off", "--app", "prog")
    user.sends(sink, "report")

    assert (0, b"") == (ended.status, ended.err)
    assert ["prog", "prog/consent"] == user.kept
    assert "off" == user.choice[0]
    assert [] == senders(user)


def test_off_while_programs_begin_and_end(user: User, request):
    """However much waits and whoever writes meanwhile, off succeeds, and nothing is left once they have ended."""
    loop = "import subprocess, sys\nwhile True: subprocess.run([sys.executable, *sys.argv[1:]], stdout=-3)"
    hosts = [user.start("-c", loop, str(PROGRAMS / "controlled.py"), "report", start_new_session=True) for _ in "123"]
    request.addfinalizer(lambda: [(os.killpg(host.pid, signal.SIGKILL), host.communicate()) for host in hosts])
    new = user.spool / "new"
    for _ in range(2):
        user.choose("on")
        until(lambda: new.exists() and os.listdir(new))
        for n in range(4_000):
            (new / f"0-{n}.traces.jsonl").write_bytes(b"{}\n")
        until(lambda: len(os.listdir(new)) >= 4_003)

        ended = user.ours("off", "--app", "prog")

        assert (0, b"") == (ended.status, ended.err)
        assert ["prog", "prog/consent"] == user.kept


def test_on_never_lowers_the_policy_that_was_seen(user: User):
    """Where the program's settings are not known: what was agreed to stays agreed to, and the notice may still come."""
    user.choose("on", policy=2)

    ended = user.ours("on", "--app", "prog")

    assert "2" == user.choice[2]
    assert b"it may first show its notice" in ended.out
    user.ours("off", "--app", "prog")
    assert "2" == user.choice[2]


def test_on_in_the_program_knows_what_is_collected(user: User):
    """There nothing is left to be said."""
    ended = user.prog("telemetry", "on", T_POLICY="2")

    assert "2" == user.choice[2]
    assert b"notice" not in ended.out


def test_off_where_nothing_can_be_kept(user: User):
    """It can't be saved, so it is 1, and the words fit what is wrong: nobody owns what can't be made."""
    ended = user.ours("off", "--app", "prog", OTEL_USAGE_HOME="/proc/nope")

    assert 1 == ended.status
    assert b"who owns it" not in ended.err
    assert b"set OTEL_USAGE_HOME, or HOME" in ended.err
    assert b"Nothing is recorded there either; to be sure, set PROG_TELEMETRY=off" in ended.err


def test_off_ends_a_sender_at_work(user: User, sink: Sink):
    """A sender that is in the middle of a delivery is ended, and what it held is gone."""
    sink.answer = lambda _n: time.sleep(30) or (200, {}, b"")  # type: ignore[func-returns-value]
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.told)

    begun = time.monotonic()
    user.ours("off", "--app", "prog")

    settled(user)
    assert time.monotonic() - begun < 10
    assert ["prog", "prog/consent"] == user.kept


def test_off_is_heeded_by_a_sender_that_was_asleep(user: User, sink: Sink):
    """A sender started before the user said off looks again when it wakes: it sends nothing and leaves nothing."""
    user.choose("on")
    user.sends(sink, "report", OTEL_USAGE_SEND_DELAY_S="2")
    until(lambda: senders(user))

    user.ours("off", "--app", "prog")
    settled(user)

    assert [] == sink.told
    assert ["prog", "prog/consent"] == user.kept


@pytest.mark.parametrize("switch", ["DO_NOT_TRACK", "PROG_DISABLE_ANALYTICS", "OTEL_SDK_DISABLED"])
def test_on_under_an_explicit_off_says_so(user: User, switch):
    """The choice is saved, and the user learns that something stronger holds."""
    ended = user.prog("telemetry", "on", **{switch: "1"})

    assert 0 == ended.status
    assert f"saved, but currently off because of {switch}=1".encode() in ended.out
    assert "on" == user.choice[0]


def test_off_under_an_environment_that_says_on_holds(user: User):
    """The user's off is not overruled by anybody's on."""
    ended = user.prog("telemetry", "off", PROG_TELEMETRY="on")

    assert b"telemetry is off" in ended.out
    assert ["prog", "prog/consent"] == user.kept


def test_what_was_recorded_before_on_is_removed(user: User, sink: Sink):
    """An on is for what comes: neither records nor counts of before are sent, not even how many there were."""
    user.prog("report", PROG_TELEMETRY="on")
    early = {span.ids[1] for span in user.spans}

    user.ours("on", "--app", "prog")
    assert [] == user.files()
    user.sends(sink, "report")
    until(lambda: sink.ids() and sink.points())
    settled(user)

    assert not early & set(sink.ids())
    assert not [name for name, _ in sink.points() if name == "usage.dropped"]


def test_on_after_the_notice_keeps_what_waits(user: User):
    """Who saw the notice had agreed to what was recorded since: a later on takes nothing away."""
    user.choose("noticed", since=7)
    user.prog("report")

    user.prog("telemetry", "on")

    assert ["on", "7", "1"] == user.choice
    assert 2 == len(user.spans)


def test_a_choice_that_cannot_be_stored_is_1(user: User):
    """Where there is no folder the command says so, and does not pretend."""
    (user.home / "prog").write_text("a file where the folder should be")

    ended = user.ours("off", "--app", "prog")

    assert 1 == ended.status
    assert b"can't be changed" in ended.err


# -- preview, history, schema -------------------------------------------------------------------------------------


def test_preview_shows_what_is_sent_next_and_moves_nothing(user: User, sink: Sink):
    """Its spans are, attribute by attribute, those that arrive afterwards; before that nothing moved or was sent."""
    sent_once(user, sink)
    already = set(sink.ids())
    user.prog("report", T_SINK=sink.address)
    before = user.kept

    told = asked(user, "preview")
    assert before == user.kept
    assert already == set(sink.ids())
    previewed = [request["body"] for request in told["requests"] if request["signal"] == "traces"]
    spans = {s["spanId"]: s for p in previewed for g in p["resourceSpans"] for c in g["scopeSpans"] for s in c["spans"]}
    resources = [g["resource"]["attributes"] for p in previewed for g in p["resourceSpans"]]
    (user.spool / "wake").unlink()
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 6)
    settled(user)

    from otel_usage.otlp import attributes_of

    arrived = {span["spanId"]: span for span in sink.spans()}
    assert 2 == len(spans)
    for number, span in spans.items():
        assert attributes_of(span["attributes"]) == arrived[number]["attributes"]
        assert attributes_of(resources[0]) == arrived[number]["resource"]
        assert (span["name"], span["startTimeUnixNano"]) == (
            arrived[number]["name"],
            arrived[number]["startTimeUnixNano"],
        )


def test_preview_shows_what_a_queue_holds(user: User, sink: Sink):
    """What was taken in but not delivered yet is part of what would be sent next."""
    sink.answer = lambda _n: (503, {}, b"")
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.told)
    settled(user)
    assert list((user.spool / "queue" / "otlp" / "wait").iterdir())

    told = asked(user, "preview")

    assert "report.upload" in json.dumps(told["requests"])


@pytest.mark.parametrize(("words", "reason"), [({}, ""), ({"DO_NOT_TRACK": "1"}, "off, by DO_NOT_TRACK")])
def test_preview_says_none_when_nothing_would_be_sent(user: User, sink: Sink, words, reason):
    """Nothing waits, or somebody said off: "none", and why."""
    sent_once(user, sink)
    if words:
        user.prog("report", T_SINK=sink.address)

    ended = user.ours("preview", "--app", "prog", **words)

    assert ended.out.startswith(b"none")
    assert reason.encode() in ended.out


def test_preview_before_consent(user: User, sink: Sink):
    """``--if-on`` shows by what was recorded so far what a yes would send, and says that this stays; nothing is sent."""
    user.prog("report", PROG_TELEMETRY="local")

    plain = user.prog("telemetry", "preview", PROG_TELEMETRY="local", T_SINK=sink.address)
    ended = user.prog("telemetry", "preview", "--if-on", PROG_TELEMETRY="local", T_SINK=sink.address)

    assert plain.out.startswith(b"none")
    assert ended.out.startswith(b"An example")
    assert b"report.upload" in ended.out
    assert [] == sink.told


def test_if_on_shows_what_a_yes_would_send(user: User, sink: Sink):
    """What waits with its user's agreement, and is held back by an off elsewhere, is no example; what is local is none."""
    user.choose("noticed")
    user.prog("report", T_SINK=sink.address)
    local = user.prog("report", T_SINK=sink.address, PROG_TELEMETRY="local")
    assert b"reported\n" == local.out
    (waiting,) = user.runs

    ended = user.prog(
        "telemetry", "preview", "--if-on", "--json", DO_NOT_TRACK="1", T_SINK=sink.address, T_FRAMEWORK="click"
    )
    told = json.loads(ended.out)

    assert not told["example"]
    assert 1 == ended.out.count(f'"spanId": "{waiting.ids[1]}"'.encode())
    (traces,) = (request for request in told["requests"] if request["signal"] == "traces")
    assert 2 == traces["records"]


def test_status_counts_a_killed_run_among_what_waits(user: User, sink: Sink):
    """The next sending reports it as unfinished: both status and preview know; a run under way is nobody's yet."""
    user.choose("on")
    source = "import os, otel_usage\nu = otel_usage.init('prog', version='1', consent='opt-in')\n"
    source += "u.command('work')\nprint(flush=True)\ninput()\nos._exit(3)\n"
    host = user.start(source, stdin=subprocess.PIPE, env={"T_SINK": sink.address})
    assert host.stdout is not None
    host.stdout.readline()
    alive = asked(user, "status")["waiting"]["records"]
    host.communicate(b"\n")

    killed = asked(user, "status")["waiting"]["records"]

    assert (0, 1) == (alive, killed)


def test_history_is_the_ledger(user: User, sink: Sink):
    """Every delivery is there: when, to whom, how many, and what was answered."""
    sent_once(user, sink)

    told = asked(user, "history")

    assert {("otlp", "traces", 2, "sent", 200), ("otlp", "metrics", 4, "sent", 200)} == {
        (e["destination"], e["signal"], e["records"], e["result"], e["status"]) for e in told
    }


@pytest.mark.parametrize("n", ["0", "-1", "x", "1.5"])
def test_history_of_no_deliveries_is_wrong_usage(user: User, n: str):
    """``-n`` takes 1 and more; anything else ends with 2, and says so."""
    ended = user.ours("history", "--app", "prog", f"--last={n}")

    assert 2 == ended.status
    assert f"'{n}' is not a number of deliveries: 1 or more".encode() in ended.err


def test_schema_in_words(user: User, sink: Sink):
    """Every declared name, field and value is there, from the host and from what the sender remembers alike."""
    sent_once(user, sink)

    hosts = user.prog("telemetry", "schema", T_SINK=sink.address).out
    ours = user.ours("schema", "--app", "prog").out

    assert hosts == ours
    for word in (
        b"report.upload",
        b"one of pdf, html",
        b"only the range: <1 MB, 1-10 MB, >=10 MB",
        b"yes or no",
        b"from 0 to 10",
    ):
        assert word in ours


def test_what_nobody_knows_can_not_be_shown(user: User):
    """schema of a program that has sent nothing yet: 1, and where to ask."""
    ended = user.ours("schema", "--app", "prog")

    assert 1 == ended.status
    assert b"has not sent anything yet" in ended.err


# -- reset-id, forget ---------------------------------------------------------------------------------------------


def test_reset_id_makes_a_new_one_at_the_next_sending(user: User, sink: Sink):
    """The old id is gone at once; what is sent next bears another."""
    sent_once(user, sink)
    (old,) = {span["resource"]["app.installation.id"] for span in sink.spans()}

    ended = user.ours("reset-id", "--app", "prog")
    assert not (user.folder / "id").exists()
    assert old.encode() in ended.out
    assert b"To have it deleted, send that id to the maintainers of prog: https://prog.example.org" in ended.out
    assert {"app": "prog", "reset": False, "id": None} == asked(user, "reset-id")
    (user.spool / "wake").unlink()
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 4)
    settled(user)

    assert 2 == len({span["resource"]["app.installation.id"] for span in sink.spans()})
    assert old not in (user.folder / "id").read_text()


def test_forget_removes_everything_and_says_what_lies_where(user: User, sink: Sink):
    """Only the choice stays. Named are the receivers, how much they have, and under which id, for the last time."""
    sent_once(user, sink)
    user.prog("report", T_SINK=sink.address)
    installation = (user.folder / "id").read_text().split()[0]

    ended = user.ours("forget", "--app", "prog")

    assert ["prog", "prog/consent"] == user.kept
    assert b"otlp: 6 records" in ended.out
    assert installation.encode() in ended.out
    assert b"https://prog.example.org/telemetry" in ended.out


def test_forget_where_nothing_was_ever_sent(user: User):
    """Says that nobody has anything; without a choice not even the folder stays."""
    user.prog("report", PROG_TELEMETRY="on")

    ended = user.ours("forget", "--app", "prog")

    assert b"nobody else has anything" in ended.out
    assert [] == user.kept


def test_forget_where_there_is_no_folder(user: User):
    """Says that there is nothing, and does not claim to have removed it."""
    ended = user.ours("forget", "--app", "prog", OTEL_USAGE_HOME="/proc/nope")
    told = asked(user, "forget", OTEL_USAGE_HOME="/proc/nope")

    assert (0, b"prog: there is nothing to remove: '/proc/nope/prog' does not exist.\n") == (ended.status, ended.out)
    assert not told["existed"]


def test_forget_keeps_an_off(user: User):
    """Forgetting must not switch anything on: an explicit off outlives it."""
    user.choose("off")

    user.ours("forget", "--app", "prog")

    assert "off" == user.choice[0]


# -- what is remembered -------------------------------------------------------------------------------------------


def test_settings_survive_and_keys_do_not(tmp_path):
    """Schema types come back as they were; of destinations only addresses, numbers and the names of keys."""
    schema = {
        "a": {"why": "x", "fields": {"b": ("bucket", "MB", 1, 10), "v": ("version",), "i": ("integer", 9), "t": bool}}
    }
    settings = {
        "app": "prog", "version": "1", "consent": "opt-in", "policy": 2, "about": "", "schema": schema,
        "destinations": {
            "otlp": {"endpoint": "https://x.example/otlp?k=hunter2", "headers": {"api-key": "hunter2"}, "timeout_s": 3},
            "segment": {"write_key": "hunter2", "names": {"a": "A Thing"}}, "webhook": "https://x.example:8/hunter2",
            "plain": "https://x.example/", "other": "hunter2",
        },
    }  # fmt: skip

    remember(str(tmp_path), settings)
    told = recall(str(tmp_path))

    assert told is not None
    assert {"b": ("bucket", "MB", 1, 10), "v": ("version",), "i": ("integer", 9), "t": "bool"} == told["schema"]["a"][
        "fields"
    ]
    assert "hunter2" not in (tmp_path / "settings.json").read_text()
    assert {"endpoint": f"https://x.example/{SECRET}", "headers": {"api-key": SECRET}, "timeout_s": 3} == told[
        "destinations"
    ]["otlp"]
    assert (f"https://x.example:8/{SECRET}", "https://x.example", SECRET) == tuple(
        told["destinations"][name] for name in ("webhook", "plain", "other")
    )
    assert {"a": "A Thing"} == told["destinations"]["segment"]["names"]
    assert told["destinations"] == redact_destinations(told["destinations"])


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"schema": "os.remove(1)"}', '{"schema": "[1]", "app": "x", "destinations": null}', "\x00"],
)
def test_remembered_settings_that_are_damaged_are_none(tmp_path, text):
    """A damaged file is as good as none, and is never evaluated."""
    (tmp_path / "settings.json").write_text(text)

    assert recall(str(tmp_path)) is None


def test_off_says_what_lies_elsewhere_before_it_forgets(user: User, sink: Sink):
    """Who wants it deleted there needs the id, which is gone afterwards; then nothing is claimed of what was sent."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.ids())
    settled(user)
    installation = (user.folder / "id").read_text().split()[0]

    said = user.ours("off", "--app", "prog").out.decode()
    later = [user.ours(verb, "--app", "prog").out.decode() for verb in ("history", "forget", "status")]

    assert installation in said
    assert "otlp: " in said
    assert ["consent"] == [path.name for path in user.folder.iterdir()]
    for text in later[:2]:
        assert "is not known here any more" in text
    assert not any("ever sent" in text or "nothing sent" in text for text in later)
