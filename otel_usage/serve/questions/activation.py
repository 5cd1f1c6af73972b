"""Do newcomers get through: first run, first success, first action, another day."""

from __future__ import annotations

from datetime import timedelta

from .filters import Filters
from .question import AT, LASTING_DAYS, Column, Headline, Question, Results, Row, Scope, Table, share

WINDOW_DAYS = 7  # after the first day


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    # Of the first day, the version that the filter names. `events` is read for all versions: a newcomer may upgrade.
    version = d.text("version")
    newcomers = f"""
        SELECT installation, min(day) AS first_day FROM installation_days WHERE {scope.whole()} AND {LASTING_DAYS}
        GROUP BY installation
        HAVING min(day) >= {d.date("first")} AND min(day) <= {d.date("last")}
           AND ({d.value_at_first("version", "day")} = {version} OR {version} = '')"""
    time = f"events.{AT}"
    succeeded, acted = "kind = 'run' AND outcome = 'success'", "kind = 'action'"
    seconds = d.seconds_between
    return {
        "steps": f"""
            WITH newcomers AS ({newcomers}),
            steps AS (
                SELECT newcomers.installation, min({time}) AS began,
                       {d.count_if("kind = 'run'")} AS runs_of, {d.min_if(time, "kind = 'run'")} AS run_at,
                       {d.count_if(succeeded)} AS successes, {d.min_if(time, succeeded)} AS success_at,
                       {d.count_if(acted)} AS actions, {d.min_if(time, acted)} AS action_at,
                       {d.count_if(f"{d.day(time)} > first_day")} AS later,
                       {d.min_if(time, f"{d.day(time)} > first_day")} AS later_at
                FROM events JOIN newcomers ON events.installation = newcomers.installation
                WHERE events.app = {d.text("app")} AND {time} >= {d.time("first_time")} AND {time} < {d.time("until")}
                  AND NOT ephemeral AND {d.day(time)} <= {d.plus_days("first_day", str(WINDOW_DAYS))}
                  AND {scope.of_audience()}
                GROUP BY newcomers.installation)
            SELECT count(*), {d.count_if("runs_of > 0")}, {d.count_if("successes > 0")},
                   {d.count_if("successes > 0 AND actions > 0")}, {d.count_if("successes > 0 AND later > 0")},
                   {d.count_if("successes > 0 AND actions > 0 AND later > 0")},
                   {d.quantile(f"CASE WHEN runs_of > 0 THEN {seconds('began', 'run_at')} END", 0.5)},
                   {d.quantile(f"CASE WHEN successes > 0 THEN {seconds('began', 'success_at')} END", 0.5)},
                   {
            d.quantile(f"CASE WHEN successes > 0 AND actions > 0 THEN {seconds('began', 'action_at')} END", 0.5)
        },
                   {d.quantile(f"CASE WHEN successes > 0 AND later > 0 THEN {seconds('began', 'later_at')} END", 0.5)},
                   {
            d.quantile(
                f"CASE WHEN successes > 0 AND actions > 0 AND later > 0 THEN {seconds('began', 'later_at')} END", 0.5
            )
        }
            FROM steps HAVING count(*) > 0""",
    }


def _shape(results: Results, filters: Filters) -> Table:
    first, last = _cohort(filters)
    period = f"These are the newcomers of {first} to {last}: those who came later have not had their seven days."
    if not results["steps"]:
        return Table([], [Headline("newcomers", 0), Headline("came back on another day", None, "share")], period)
    row = results["steps"][0]
    seen, ran, succeeded, acted, back, acted_and_back = (int(n) for n in row[:6])
    hours = [None if seconds is None else float(seconds) / 3600 for seconds in row[6:]]
    steps = [("first seen", seen, 0.0), ("ran a command", ran, hours[0]), ("a run succeeded", succeeded, hours[1])]
    if acted:
        steps += [("did a declared action", acted, hours[2]), ("came back on another day", acted_and_back, hours[4])]
    else:
        steps += [("came back on another day", back, hours[3])]
        period += " No declared action was recorded of them, so that there is no such step."
    rows: list[Row] = [(name, count, share(count, seen), after) for name, count, after in steps]
    return Table(
        rows, [Headline("newcomers", seen), Headline("came back on another day", share(back, seen), "share")], period
    )


def _cohort(filters: Filters) -> tuple[str, str]:
    """Return the first and last day on which a newcomer was first seen: a week before the period's."""
    wait = timedelta(WINDOW_DAYS)
    return (filters.start - wait).isoformat(), (filters.end - wait).isoformat()


QUESTION = Question(
    id="activation",
    title="Do newcomers get through?",
    why="Who installs the program and leaves after the first failure is lost; this says at which step.",
    definition=(
        "Newcomers are installations whose first day ever lies in a period as long as the one that is chosen, seven days "
        "earlier, so that each has had seven days after its first. Each step counts those who have also done the steps above "
        "it, in whatever order, within these seven days: ran a command, had a run that succeeded, did an action that the program "
        "declares, was seen on another day. The headline counts all who had a success and came back. Hours are the median from "
        "the first event of those who did the step. With consent by opt-out, the very first run shows the notice and is not "
        "recorded. The filter by version is about the first day's."
    ),
    of_whom="Installations whose id lasts, that were new.",
    draw="funnel",
    x="step",
    y=("installations",),
    columns=(
        Column("step", "Step", "text"),
        Column("installations", "Installations"),
        Column("share", "Share of newcomers", "share"),
        Column("hours", "Median hours until then", "hours"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("installation_days", "events"),
    parameters=lambda filters: {
        "first": _cohort(filters)[0],
        "last": _cohort(filters)[1],
        "first_time": f"{_cohort(filters)[0]} 00:00:00",
    },
)
