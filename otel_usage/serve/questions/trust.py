"""Can these numbers be trusted: what is missing, late, dropped, or seen once only."""

from __future__ import annotations

from ...schema.attributes import REASONS
from .filters import Filters
from .question import AT, EXPIRED, LASTING_DAYS, Column, Headline, Question, Results, Row, Scope, Table, share

LATE_S, AHEAD_S = 86_400, 600


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    arrived = f"app = {d.text('app')} AND received >= {d.time('since')} AND received < {d.time('until')}"
    ahead = f"{d.seconds_between('received', AT)} > {AHEAD_S}"
    return {
        "events": f"""
            SELECT count(*), {d.count_if("kind = 'run'")}, {d.count_if("NOT ci")},
                   {d.count_if("NOT ci AND installation IS NULL")}, {d.count_if("installation IS NOT NULL AND ephemeral")},
                   {d.count_if(f"{d.seconds_between(AT, 'received')} > {LATE_S}")},
                   {d.count_if("kind = 'run' AND outcome = 'unfinished'")},
                   {d.count_if("kind = 'run' AND outcome = 'unknown'")}, {d.distinct(d.day(AT))}
            FROM events WHERE {scope.events()} HAVING count(*) > 0""",
        "ahead": f"SELECT {d.count_if(ahead)} FROM events WHERE {arrived} HAVING count(*) > 0",
        "once": f"""
            SELECT count(*), {d.count_if("seen_days = 1")} FROM (
                SELECT installation, count(*) AS seen_days FROM installation_days
                WHERE {scope.days()} AND {LASTING_DAYS} GROUP BY installation) AS installations
            HAVING count(*) > 0""",
        "drops": f"""
            SELECT reason, sum(amount) FROM drops WHERE {scope.events(audience=False)} GROUP BY reason ORDER BY reason""",
        "days": f"""
            SELECT sum(runs), sum(CASE WHEN outcome = 'unfinished' THEN runs ELSE 0 END),
                   sum(CASE WHEN outcome = 'unknown' THEN runs ELSE 0 END)
            FROM run_days WHERE {scope.runs_of_days()} HAVING count(*) > 0""",
    }


def _shape(results: Results, filters: Filters) -> Table:
    if not results["events"] and not results["drops"] and not results["once"]:
        return Table([], [Headline("records", 0), Headline("seen on one day only", None, "share")])
    counts = [int(n) for n in (results["events"] or [[0] * 9])[0]]
    events, runs, outside_ci, nameless, ephemeral, late, unfinished, unknown, days = counts
    ahead = int((results["ahead"] or [(0,)])[0][0])
    installations, once = (int(n) for n in (results["once"] or [(0, 0)])[0])
    rolled_up = bool(results["days"] and not results["events"])
    if rolled_up:
        runs, unfinished, unknown = (int(n) for n in results["days"][0])
    rows: list[Row] = [
        ("records in the period", events, None, "Runs, actions, errors, heartbeats, by the time at which they began."),
        ("days with records", days, share(days, filters.days), "Of the days of the period."),
        ("installations seen on one day only", once, share(once, installations),
         "Of installations. What is tried once, or an id that did not last although it was thought to."),
        ("records with an id that does not last", ephemeral, share(ephemeral, outside_ci),
         "Of records outside CI. Containers and the like: counted among runs, never as installations."),
        ("records without an id, outside CI", nameless, share(nameless, outside_ci), "Of records outside CI."),
        ("records that came more than a day late", late, share(late, events),
         "Of records. The last days of a period may still grow by about this share."),
        ("records from clocks that are ahead", ahead, share(ahead, events),
         "Received in the period, and more than ten minutes before they began. They count on the day that they claim."),
        ("runs that ended without a word", unfinished, share(unfinished, runs), "Of runs: killed, or crashed."),
        ("runs whose end is not known", unknown, share(unknown, runs), "Of runs; counted neither as success nor as failure."),
    ]  # fmt: skip
    if rolled_up:
        rows = [("runs in the period", runs, None, "By the time at which they began."), rows[2], *rows[-2:]]
    dropped = 0
    for reason, amount in results["drops"]:
        dropped += int(amount)
        meaning = REASONS.get(reason, "a reason that this version does not know")
        rows.append(
            (
                f"dropped: {reason}",
                int(amount),
                share(int(amount), events + int(amount)),
                f"As programs said: {meaning}.",
            )
        )
    headlines = [
        Headline("records", None if rolled_up else events),
        Headline("seen on one day only", share(once, installations), "share"),
        Headline("dropped, as programs said", dropped),
        Headline("more than a day late", share(late, events), "share"),
    ]
    missing = f"{EXPIRED} What came late, without an id or with one that does not last is not known any more."
    return Table(rows, headlines, missing if rolled_up else "", rolled_up)


QUESTION = Question(
    id="trust",
    title="Can I trust this: what is missing?",
    why="Every other number is worth as much as this page says.",
    definition=(
        "What was received in the period, and what is known about what was not. No number here says how many people said no: "
        "nothing is recorded of them, not even that. So every count is a lower bound, and shares are of those who "
        "take part. An installation that was never shown a notice on a terminal, as those that only agents or containers use, "
        "sends nothing either. What programs dropped themselves they report by reason, once they can send again; what a program "
        "that never ran again had dropped is not known. Records have an id of their own: one that arrives twice is counted once. "
        "The filter by audience does not apply."
    ),
    of_whom="Everything that was received.",
    draw="table",
    columns=(
        Column("what", "What", "text"),
        Column("amount", "How many"),
        Column("share", "Share", "share"),
        Column("meaning", "Of what, and what it means", "text"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("events",),
    every_audience=True,
)
