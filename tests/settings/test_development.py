"""Where a program is developed, a wrong setting is met at once; at its users' it is `status` that says it."""

import os

import pytest

from ..users import User

SOURCE = """
import otel_usage
usage = otel_usage.init("prog", version="1", {settings})
usage.error("none", "text")
print("end")
"""
WRONG = {
    "consent='optout'": "consent 'optout' is not 'opt-in', 'opt-out' or 'ask'",
    "consent='opt-in', sender='inlin'": "sender 'inlin' is not",
    "consent='opt-in', schema={'x': {}}": "why None is not",
}


def run(user: User, settings: str, installed: bool, **env: str) -> tuple[str, bool]:
    """Run a program at a terminal: (what it showed, whether it went on). installed: its module lies in a site-packages."""
    folder = user.tmp / "work" / ("site-packages" if installed else "checkout")
    folder.mkdir(exist_ok=True)
    (folder / "prog_cli.py").write_text(SOURCE.format(settings=settings))
    program = f"import sys\nsys.path.insert(0, {str(folder)!r})\nsys.argv[0] = 'prog'\nimport prog_cli\n"
    shown = user.on_terminal(program=program, **env).out.decode()
    return shown, "end\n" in shown


@pytest.mark.parametrize("settings", WRONG)
def test_a_checkout_at_a_terminal(user, settings):
    """Its author is told once, in one line, whatever the user said; the program goes on."""
    for mode in ("on", "off"):
        shown, went_on = run(user, settings, installed=False, PROG_TELEMETRY=mode)

        assert went_on
        assert 1 == shown.count("otel-usage: "), shown
        assert WRONG[settings] in shown


@pytest.mark.parametrize("settings", WRONG)
def test_an_installed_program(user, settings):
    """Its user is told nothing."""
    assert ("end\n", True) == run(user, settings, installed=True, PROG_TELEMETRY="off")


def test_right_settings(user):
    """Nothing is said of what is right."""
    assert ("end\n", True) == run(user, "consent='opt-in'", installed=False, PROG_TELEMETRY="on")


@pytest.mark.parametrize("how", ["OTEL_USAGE_STRICT", "PYTHONDEVMODE"])
def test_strict(user, how):
    """With the variable, and under ``-X dev``, it is an error, wherever the program lies."""
    shown, went_on = run(user, "consent='optout'", True, **{how: "1", "PROG_TELEMETRY": "off"})

    assert not went_on
    assert "SettingError" in shown


def test_without_a_terminal(user):
    """In a pipe nothing is said."""
    ended = user.run(SOURCE.format(settings="consent='optout'"), env={"PROG_TELEMETRY": "off"})

    assert (0, b"end\n", b"") == (ended.status, ended.out, ended.err)


KEYWORDS = {
    "ga4": ({"measurment_id": "G-AB12CD34EF", "api_secret": "x"}, "'measurment_id'; did you mean 'measurement_id'?"),
    "segment": ({"writekey": "x"}, "'writekey'; did you mean 'write_key'?"),
    "otlp": ({"endpont": "https://usage.example.org"}, "'endpont'; did you mean 'endpoint'?"),
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_keyword_that_is_nearly_right(name):
    """An unknown keyword is what is complained of, and the nearest is named."""
    from otel_usage import SettingError
    from otel_usage.delivery.strict import check_destination

    keywords, expected = KEYWORDS[name]
    with pytest.raises(SettingError) as caught:
        check_destination(name, keywords)

    assert expected in str(caught.value)


def test_the_public_names_are_what_editors_show():
    """``dir(otel_usage)`` is ``__all__``."""
    import otel_usage

    assert sorted(otel_usage.__all__) == dir(otel_usage)


if not hasattr(os, "openpty"):
    pytest.skip("no terminal", allow_module_level=True)
