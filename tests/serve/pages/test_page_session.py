"""Who may look at the pages, and who may have something done by them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import requests
from starlette.routing import Route

from otel_usage.serve.access import COOKIE, Access
from otel_usage.serve.guesses import EACH, Guesses
from otel_usage.serve.pages import routes

from .serving import run_now, serving

TOKEN = "a-token-of-viewers-0123456789"
PAGES = (
    "/",
    "/live",
    "/app",
    "/questions/commands",
    "/questions/commands.json",
    "/questions/commands.csv",
    "/live/events",
)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that asks for a token, and whose clock is a minute later at each wrong one."""
    access = Access(viewers=(TOKEN, "another"), guesses=Guesses(clock=count(0.0, 60.0).__next__))
    with serving(tmp_path_factory.mktemp("locked"), [run_now(app="hidden-app")], access=access) as (address, _):
        yield address


def sign_in(address: str, token: str, **options: Any) -> requests.Response:
    """Send the form, as a browser does."""
    form = {"token": token, "next": "/live"}
    return requests.post(
        f"{address}/sign-in", form, headers={"origin": address}, allow_redirects=False, timeout=20, **options
    )


@pytest.mark.parametrize("path", sorted({route.path for route in routes(None) if isinstance(route, Route)}))
def test_every_path_but_three_asks_for_the_token(locked: str, path: str) -> None:
    """Whatever the pages answer, and by whatever method, asks first: a path that is added later, too."""
    path = path.format(id="runs", digest="x", name="pages.css")
    answers = [
        requests.request(method, locked + path, allow_redirects=False, timeout=20)
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE")
    ]

    expected = {404, 405} if path.startswith("/assets/") else {303, 405} if path == "/theme" else {401, 405}
    assert {answer.status_code for answer in answers} == expected
    assert not [answer for answer in answers if "hidden-app" in answer.text]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_without_the_token_asks_for_it(locked: str, path: str) -> None:
    """It shows nothing, and asks: people by a form, programs by a challenge."""
    answer = requests.get(locked + path, timeout=20)

    assert 401 == answer.status_code
    assert "hidden-app" not in answer.text
    asks = "<form" if path in PAGES[:4] else "Bearer"
    assert asks in answer.text + answer.headers.get("www-authenticate", "")


def test_the_token_opens_the_pages_by_a_cookie(locked: str) -> None:
    """The cookie is not the token, scripts can't read it, and no other site's page sends it; then the page is shown."""
    answer = sign_in(locked, TOKEN)
    cookie = answer.headers["set-cookie"]

    assert (303, "/live") == (answer.status_code, answer.headers["location"])
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert TOKEN not in cookie
    cookies = {COOKIE: answer.cookies[COOKIE]}
    assert "hidden-app" in requests.get(f"{locked}/live", cookies=cookies, timeout=20).text
    assert 401 == requests.get(f"{locked}/", cookies={COOKIE: TOKEN}, timeout=20).status_code
    assert 401 == requests.get(f"{locked}/", cookies={COOKIE: ""}, timeout=20).status_code


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ü", " "])
def test_a_wrong_token_opens_nothing(locked: str, token: str) -> None:
    """The form comes again and says so, and no cookie is set; a bearer token is looked at likewise."""
    answer = sign_in(locked, token)

    assert (401, False) == (answer.status_code, "set-cookie" in answer.headers)
    assert "none of its tokens" in answer.text
    bearer = {"authorization": f"Bearer {token}".encode()}
    assert 401 == requests.get(f"{locked}/questions/commands.csv", headers=bearer, timeout=20).status_code


def test_guessing_is_bounded_and_locks_nobody_out(tmp_path) -> None:
    """Wrong tokens beyond some are answered 429, however they come; the right one is taken, from the same address, too."""
    wrong = [{"authorization": "Bearer x"}, {"authorization": "Basic eDp4"}, {"cookie": f"{COOKIE}=x"}]
    with serving(tmp_path, [run_now()], viewers=(TOKEN,)) as (address, _):
        forms = [sign_in(address, f"wrong-{n}").status_code for n in range(EACH)]
        others = [
            requests.get(f"{address}{path}", headers=headers, timeout=20)
            for path in ("/", "/questions/runs.json")
            for headers in wrong
        ]
        form, right = sign_in(address, "wrong"), sign_in(address, TOKEN)
        bearer = requests.get(f"{address}/", headers={"authorization": f"Bearer {TOKEN}"}, timeout=20)
        untried = requests.get(f"{address}/", timeout=20)

    assert [401] * EACH == forms
    assert {429} == {answer.status_code for answer in [*others, form]}
    assert {"60"} == {answer.headers["retry-after"] for answer in [*others, form]}
    assert (303, 200, 401) == (right.status_code, bearer.status_code, untried.status_code)


def test_a_cookie_of_a_token_that_was_replaced_is_taken_away(locked: str) -> None:
    """It would be counted as a wrong token on every page."""
    answer = requests.get(f"{locked}/", cookies={COOKIE: "0" * 64}, timeout=20)

    assert (401, True) == (answer.status_code, f'{COOKIE}=""' in answer.headers["set-cookie"])


def test_programs_send_the_token_itself(locked: str) -> None:
    """A script that fetches an answer sends a bearer token, any of those that are accepted."""
    for token in (TOKEN, "another"):
        bearer = {"authorization": f"Bearer {token}"}
        assert 200 == requests.get(f"{locked}/questions/commands.json", headers=bearer, timeout=20).status_code


@pytest.mark.parametrize("path", ["/erase", "/theme", "/sign-in", "/sign-out"])
def test_another_sites_form_does_nothing(locked: str, path: str) -> None:
    """A form that another page has sent is refused, whatever cookie came with it."""
    cookies = {COOKIE: sign_in(locked, TOKEN).cookies[COOKIE]}
    for headers in ({"origin": "https://elsewhere.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = requests.post(locked + path, {"token": TOKEN}, headers=headers, cookies=cookies, timeout=20)
        assert (403, False) == (answer.status_code, "set-cookie" in answer.headers)


def test_a_name_that_was_pointed_here_shows_nothing(digest: str) -> None:
    """Without tokens a page of another host's, whose name leads to this machine, reads nothing."""
    assert 200 == requests.get(f"{digest}/", timeout=20).status_code
    for host in ("elsewhere.example", "127.0.0.1.elsewhere.example", ""):
        assert 403 == requests.get(f"{digest}/", headers={"host": host}, timeout=20).status_code


def test_without_tokens_nobody_looks_from_elsewhere(tmp_path) -> None:
    """A server that listens to others, and has no tokens, shows nothing to anybody."""
    with serving(tmp_path, [run_now()], access=Access(local=False)) as (address, _):
        assert 403 == requests.get(f"{address}/", timeout=20).status_code


def test_every_answer_forbids_what_pages_do_not_need(locked: str, digest: str) -> None:
    """The policy names no other host, no inline script and no eval; what is shown is stored nowhere on the way."""
    for address in (f"{locked}/", f"{digest}/", f"{digest}/questions/nothing", f"{digest}/?days=x", f"{digest}/live"):
        headers = requests.get(address, timeout=20).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert {"'none'", "'self'"} == {word for part in policy.split(";") for word in part.split()[1:]}
        assert ("no-store", "nosniff", "same-origin") == (
            headers["cache-control"], headers["x-content-type-options"], headers["referrer-policy"],
        )  # fmt: skip
