"""What pages say: filters, answers as files, emptiness, and whatever strings were stored."""

from __future__ import annotations

import html
import json
import re
from datetime import date, datetime, timezone
from html.parser import HTMLParser
from itertools import product

import pytest
import requests

from otel_usage.serve.pages.view import read_view
from otel_usage.serve.questions import QUESTIONS
from otel_usage.serve.store.rows import CountRow, DropRow, microseconds_of
from otel_usage.serve.store.store import Store
from otel_usage.serve.store.tables import TABLES
from otel_usage.serve.store.writer import Batch

from .serving import fill, run_now, serving

HOSTILE = "\"><img src=x onerror=alert(1)>'</script><script>alert(2)</script>"
# Every column that holds text: what an event is, and how it ended, decides where it is shown, so they are tried apart.
TEXTS = [c.name for c in TABLES["events"] if c.duckdb == "VARCHAR" and c.name not in ("kind", "outcome")]
SCHEMA = {  # names are what `check_schema` lets pass
    f"declared.{kind}": {"kind": kind, "why": f"{HOSTILE}why", "owner": HOSTILE, "fields": {HOSTILE: [HOSTILE]}}
    for kind in ("action", "count")
}


def get(address: str) -> str:
    """Return a page that must be there."""
    answer = requests.get(address, timeout=30)
    assert 200 == answer.status_code, answer.text[:500]
    return answer.text


class Elements(HTMLParser):
    """Notes the elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def test_a_link_keeps_every_filter_but_its_own() -> None:
    """What is chosen is in the address, and another choice changes only itself; what is usual is left out."""
    today = date(2026, 11, 26)
    view = read_view("/", {"app": "a b", "days": "90", "audience": "ci", "version": "1.0", "compare": "no"}, (), today)

    assert (date(2026, 8, 29), today) == (view.filters.start, view.filters.end)
    assert "/?app=a+b&days=90&version=1.0&audience=ci&compare=no" == view.link()
    assert "/live?app=a+b&days=90&audience=ci&compare=no" == view.link("/live", version="")
    assert "/?app=a+b&start=2026-01-01&end=2026-01-02&version=1.0&audience=ci&compare=no" == view.link(
        start="2026-01-01", end="2026-01-02"
    )
    assert "/?app=x" == view.link(app="x", days=28, version="", audience="people", compares=True)


@pytest.mark.parametrize(
    "query", ["days=0", "days=x", "days=99999", "start=yesterday", "audience=cats", "start=2027-01-01&end=2026-01-01"]
)
def test_a_filter_that_can_not_be_is_explained(digest: str, query: str) -> None:
    """A mistyped address says what is wrong with it."""
    answer = requests.get(f"{digest}/?{query}", timeout=20)

    assert 400 == answer.status_code
    assert "be shown" in answer.text


@pytest.mark.parametrize("query", ["start=foo", "days=0001234567890", "audience=cats"])
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_program_hears_of_a_wrong_filter_in_plain_text(digest: str, query: str, kind: str) -> None:
    """`otel-usage ask` shows what the server answers: one line, and no page."""
    answer = requests.get(f"{digest}/questions/runs.{kind}?{query}", timeout=20)

    assert (400, "text/plain; charset=utf-8", 1) == (
        answer.status_code, answer.headers["content-type"], answer.text.count("\n")
    )  # fmt: skip
    assert query.partition("=")[2] in answer.text


@pytest.mark.parametrize("id_", QUESTIONS)
def test_each_question_has_a_page_json_and_csv(digest: str, id_: str) -> None:
    """The page says what its number is, and links to the same answer as files, under the same filters."""
    page = get(f"{digest}/questions/{id_}?app=digest&days=90")

    links = Elements(page).links
    assert f"/questions/{id_}.json?app=digest&days=90" in links
    answer = requests.get(f"{digest}/questions/{id_}.json?app=digest&days=90", timeout=30).json()
    lines = get(f"{digest}/questions/{id_}.csv?app=digest&days=90").splitlines()
    assert len(lines) == 1 + len(answer["rows"])
    for text in ("What this number is", "Excluded", "Missing"):
        assert text in page
    assert all(headline["title"].split()[0].lower() in page.lower() for headline in answer["headlines"])


def test_the_overview_works_without_scripts(digest: str) -> None:
    """Numbers and tables are in the page itself: cards with their change, lists with shares, every number of each chart."""
    page = get(f"{digest}/?app=digest&days=90")
    elements = Elements(page)

    assert 5 == page.count('class="card"')
    assert 5 == page.count('class="change')
    assert page.count("<figure") <= page.count("Table of this chart")
    assert 'data-releases="[[' in page
    assert "style" not in elements.attributes
    assert set() == {name for name in elements.attributes if name.startswith("on")}
    assert [] == [link for link in elements.links if not re.match(r"/(?!/)|\?|#", link)]


def test_programs_are_apart(digest: str) -> None:
    """One program's page says nothing of another but its name, which leads to it."""
    page = get(f"{digest}/app?app=todo")

    assert "<h1>todo</h1>" in page
    assert '<option value="digest">' in page
    assert "Is uploading worth keeping" not in page
    assert "Is uploading worth keeping" in get(f"{digest}/app?app=digest")


def test_a_release_is_marked_in_its_week(digest: str) -> None:
    """Releases of the generated year are on the chart of weeks, too, each on a Monday on or before its day."""
    page = get(f"{digest}/questions/versions?app=digest&days=90")
    marks = json.loads(html.unescape(re.search(r'data-releases="([^"]*)"', page)[1]))
    firsts = dict(re.findall(r">([0-9.]+)</a></th><td>([^<]+)<", get(f"{digest}/app?app=digest")))

    assert len(marks) > 1
    for day, version in marks:
        monday = date.fromisoformat(day)
        first = datetime.strptime(firsts[version], "%d %b %Y").date()
        assert (0, True) == (monday.weekday(), 0 <= (first - monday).days < 7)


def test_an_empty_store_says_what_to_do_next(tmp_path) -> None:
    """One line to paste, with this server's own address in it."""
    with serving(tmp_path) as (address, _):
        page = get(f"{address}/")
        assert f"otel-usage run --app hello --to {address} -- " in page
        for path in ("/live", "/app", *(f"/questions/{id_}" for id_ in QUESTIONS)):
            get(address + path)


def plant_markup(store: Store, hostile: dict[str, str]) -> None:
    """Store markup in every column that holds text, of every table that pages read."""
    one = "00000000-0000-4000-a000-000000000001"
    lists = {"options": [HOSTILE], "fields": {HOSTILE: HOSTILE}}
    fill(
        store,
        [
            run_now(**{**hostile, **lists, "surface": "cli", "agent": ""}),
            run_now(**{**hostile, **lists, "surface": "cli", "agent": "", "installation": one, "outcome": "failure"}),
            run_now(**{**hostile, **lists, "kind": "action", "name": "declared.action", "installation": one}),
            run_now(**{**hostile, **lists, "ci": True}),
            run_now(**{**hostile, "kind": HOSTILE, "outcome": HOSTILE, "installation": one}),
        ],
    )
    now_us = microseconds_of(datetime.now(timezone.utc))
    fields = {HOSTILE: HOSTILE}
    app, version = hostile["app"], hostile["version"]
    counter = CountRow(now_us, app, "declared.count", one, False, version, False, HOSTILE, 3, fields, 1)
    drop = DropRow(now_us, app, f"{HOSTILE}reason", version, 3, 2)
    store.writer.submit(Batch(counts=[counter], drops=[drop])).result()


def test_whatever_was_stored_is_shown_as_text(tmp_path) -> None:
    """Each string of every table, and of a schema, were it markup, adds no element and no attribute to any page."""
    hostile = {name: f"{HOSTILE}{name}" for name in TEXTS}
    declared = [f"event.{name}" for name in SCHEMA]
    paths = ["/", "/live", "/app", *(f"/questions/{id_}" for id_ in (*QUESTIONS, *declared))]
    plain = {**dict.fromkeys(TEXTS, "plain"), "surface": "cli", "agent": ""}
    shown = ""
    with serving(tmp_path, [run_now(**plain)], schemas={hostile["app"]: SCHEMA}) as (address, store):
        plant_markup(store, hostile)
        for path, audience in product(paths, ("all", "people")):
            query = {"app": hostile["app"], "audience": audience}
            answers = [
                requests.get(address + path, more, timeout=30)
                for more in (query, {**query, "version": hostile["version"]})
            ]
            clean = requests.get(f"{address}/live", {"app": "plain"}, timeout=30).text
            assert [200, 200] == [answer.status_code for answer in answers], path
            for page in (answer.text for answer in answers):
                hit = Elements(page)
                assert [] == [link for link in hit.links if not re.match(r"/(?!/)|\?|#", link)]
                assert set() == {name for name in hit.attributes if name.startswith("on")}
                assert 0 == page.count("<img src=x")
                assert clean.count("<script") - 1 <= page.count("<script") <= clean.count("<script")
                assert "&gt;&lt;img src=x onerror" in page
                shown += page

    # Each of them is shown somewhere, or this would prove nothing; but for those that no question uses.
    texts = {*TEXTS, "reason", "why"} - {"first_week", "cluster", "surface"}
    assert set() == {name for name in texts if f"&lt;/script&gt;{name}" not in shown}


def test_an_installation_is_erased_from_the_page_when_it_is_confirmed(tmp_path) -> None:
    """The form names the installation and how many rows would go; confirmed, they go, no other's, and pages don't show them."""
    mine, other = (f"00000000-0000-4000-a000-00000000000{n}" for n in (1, 2))
    events = [run_now(installation=mine), run_now(installation=mine, name="gone"), run_now(installation=other)]
    with serving(tmp_path, events) as (address, store):

        def send(installation: str, **more: str) -> requests.Response:
            return requests.post(f"{address}/erase", {"app": "mycli", "installation": installation, **more}, timeout=20)

        assert "gone" in get(f"{address}/questions/commands?app=mycli")
        asked, wrong = send(f" {mine.upper()} "), send("1' OR 1=1", confirmed="yes")
        before = store.count_rows("mycli", mine)
        hidden = dict(
            re.findall(r'<input type="hidden" name="(app|installation|confirmed)" value="([^"]*)"', asked.text)
        )
        answer = requests.post(f"{address}/erase", hidden, timeout=20)
        again, nobody = (
            send(mine),
            requests.post(f"{address}/erase", {"installation": other, "confirmed": "yes"}, timeout=20),
        )
        page = get(f"{address}/questions/commands?app=mycli")
        with store.reader() as cursor:
            rows = cursor.execute("SELECT installation FROM events").fetchall()

    assert f"Of installation {mine} of mycli there are events: 2; rows per day: 1." in asked.text
    assert (">Erase 3 rows<", 200) == (re.search(">Erase [0-9 rows]+<", asked.text)[0], asked.status_code)
    assert {"events": 2, "installation_days": 1} == before
    assert {"app": "mycli", "installation": mine, "confirmed": "yes"} == hidden
    assert f"installation {mine} was erased: events: 2; rows per day: 1." in answer.text
    assert f"Nothing of installation {mine} is stored for mycli" in again.text
    assert (400, True) == (wrong.status_code, "no id of an installation" in wrong.text)
    assert f"Nothing of installation {other} is stored for ." in nobody.text
    assert [other] == [str(row[0]) for row in rows]
    assert "gone" not in page


def test_a_day_that_has_just_begun_is_shown(tmp_path) -> None:
    """What happens now is part of the usual period, whose last day is today in UTC."""
    with serving(tmp_path, [run_now()]) as (address, _):
        answer = requests.get(f"{address}/questions/runs.json?app=mycli", timeout=20).json()

    assert [datetime.now(timezone.utc).date().isoformat(), 1] == answer["rows"][-1][:2]
