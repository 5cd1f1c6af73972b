"""The circuit breaker of one destination: whether it may be asked now, and how often it has failed.

FORMAT  ``<spool>/queue/<destination>/pause``, JSON. Absent: nothing has failed.
        ``failures``      how often in a row
        ``not_before_s``  Unix seconds; nothing is sent earlier
        ``since_s``       when the pause began
        ``settings``      a fingerprint (recording/fingerprint.py) of what was said of the destination; the pause is over if
                          that changes, or is another in another version of the program
        ``why``           what is wrong with it, where it may be to blame
        ``signals``       ``{"traces" or "metrics": an object of the five above}``: a pause of one signal alone
ALGORITHM
1. A destination that is down is paused as a whole: as long as it asks, or twice as long as the last time.
2. One whose answer says that the settings are wrong (a wrong address or token) is paused for the signal that was sent: many
   backends take traces and know no metrics. These pauses grow alike, and end when the settings change.
3. A success ends the pause of the whole and of its signal.
4. A sender that died during a delivery counts as a failure without a pause: whoever hangs is asked last by the next one.
RACES
1. The clock may be put back. A pause that began in the future, or ends more than `MAX_AHEAD_S` ahead, is taken for none.
2. The disk may be full: then the pause is not written, and the destination is asked once more than need be.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ..spool.files import open_plain, write_whole
from ..spool.wake_token import MAX_AHEAD_S, MAX_SKEW_S, WRONG_SETTINGS_PAUSE_S

FIRST_PAUSE_S = 60.0  # after a first failure; doubled with each
LAST_PAUSE_S = 6 * 3600.0
SIGNALS = ("traces", "metrics")


class Breaker:
    """The breaker whose file is *pause_path*. Concurrency: only the sender that holds the lock changes it."""

    def __init__(self, pause_path: str) -> None:
        self.pause_path = pause_path

    def paused_until_s(self, now_s: float, signal: str = "") -> float:
        """Return when sending may be tried again; 0 if now. Without a *signal*: of whatever kind."""
        pause = self._read_pause()
        whole = _until_s(pause, now_s)
        signals = pause.get("signals", {})
        if signal:
            return max(whole, _until_s(signals.get(signal, {}), now_s))
        return max(whole, min(_until_s(signals.get(one, {}), now_s) for one in SIGNALS))

    def failures(self) -> int:
        """Return how often sending failed since it last succeeded."""
        pause = self._read_pause()
        return int(pause.get("failures", 0)) + sum(int(one.get("failures", 0)) for one in _signals(pause).values())

    def pause(
        self,
        now_s: float,
        retry_after_s: float | None,
        jitter: float,
        *,
        signal: str = "",
        settings: str = "",
        problem: str = "",
    ) -> None:
        """Count a failure, and stop sending: as long as the destination asks, or twice as long as the last time.

        jitter: 0 to 1, spreads those who failed together. signal: pause this one alone. settings: the fingerprint of what was
        said of the destination; problem: what is wrong with that, if it may be to blame.
        """
        whole = self._read_pause()
        pause = whole.setdefault("signals", {}).setdefault(signal, {}) if signal else whole
        failures = int(pause.get("failures", 0)) + 1
        backoff_s = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 20), LAST_PAUSE_S) * (0.5 + 0.5 * jitter)
        pause["failures"] = failures
        pause["since_s"] = now_s
        pause["not_before_s"] = now_s + max(backoff_s if retry_after_s is None else retry_after_s, 1.0)
        pause["settings"], pause["why"] = settings, problem
        self._write_pause(whole)

    def pause_for_settings(self, now_s: float, fingerprint: str, problem: str) -> None:
        """Stop sending for as long as the settings have this *fingerprint*, and a while at most."""
        until_s = now_s + WRONG_SETTINGS_PAUSE_S
        pause = {"failures": 1, "since_s": now_s, "not_before_s": until_s, "settings": fingerprint, "why": problem}
        self._write_pause(pause)

    def count_cut_off(self) -> None:
        """Count a failure, without a pause: an earlier sender died while it sent here."""
        pause = self._read_pause()
        self._write_pause({**pause, "failures": int(pause.get("failures", 0)) + 1})

    def blamed_settings(self) -> tuple[str, str]:
        """Return (fingerprint of the settings that a pause is about, what is wrong with them); "" for what there is not."""
        pause = self._read_pause()
        parts = [part for part in (pause, *_signals(pause).values()) if part.get("settings")]
        if not parts:
            return "", ""
        return str(parts[0]["settings"]), next((str(part["why"]) for part in parts if part.get("why")), "")

    def resume(self, signal: str = "") -> None:
        """End the pauses, and forget earlier failures: all of them, or those of the whole and of *signal*."""
        pause = self._read_pause()
        others = {name: part for name, part in _signals(pause).items() if signal and name != signal}
        if others:
            self._write_pause({"signals": others})
        else:
            try:
                os.unlink(self.pause_path)
            except OSError:
                pass

    def _write_pause(self, pause: dict[str, Any]) -> None:
        try:
            write_whole(self.pause_path, json.dumps(pause).encode())
        except OSError:  # RACE 2
            pass

    def _read_pause(self) -> dict[str, Any]:
        """Return what the file says; nothing if it can't be read. Any: JSON."""
        try:
            with open(self.pause_path, encoding="ascii", opener=open_plain) as file:
                pause = json.load(file)
            float(pause.get("not_before_s", 0.0)), int(pause.get("failures", 0)), _signals(pause).items()
            return pause if isinstance(pause, dict) else {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}


def _signals(pause: dict[str, Any]) -> dict[str, dict[str, Any]]:
    signals: dict[str, dict[str, Any]] = pause.get("signals", {})
    return signals


def _until_s(pause: dict[str, Any], now_s: float) -> float:
    """Return when *pause* ends, 0 if it is over or none. Any: JSON."""
    until_s, since_s = float(pause.get("not_before_s", 0.0)), float(pause.get("since_s", 0.0))
    return until_s if now_s < until_s <= now_s + MAX_AHEAD_S and since_s <= now_s + MAX_SKEW_S else 0.0
