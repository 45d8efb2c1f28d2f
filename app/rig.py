"""Rig: the MIDI inputs that are heard, where what is played on them sounds, and whose clock is followed."""

from __future__ import annotations

import json

from PySide6.QtCore import QObject, QSettings, Signal

from app.player import Player, port_title
from app.session import Session
from engine import playback, schedule

OWN_INPUT = "virtual:Ricercar in"
"""An input that we offer to other programs."""

SOURCES = (
    ("clock:", "MIDI clock from {}"),
    ("mtc:", "MIDI time code from {}"),
)
LINK = "link"
KINDS = {"clock": "Clock", "mtc": "MTC", LINK: "Link"}

STATES = {
    "own": "own time",
    "waiting": "waiting for it",
    "locked": "followed",
    "lost": "gone: going on alone",
}


def source_title(source: str) -> str:
    """Whose time is followed, for the user."""
    if not source:
        return "Our own"
    if source == LINK:
        return "Ableton Link"
    for prefix, text in SOURCES:
        if source.startswith(prefix):
            return text.format(port_title(source.removeprefix(prefix)))
    return source


class Rig(QObject):
    """What is connected, remembered from day to day; `changed` follows it.

    inputs: the names of the MIDI inputs listened to, whether they are there or not. thru: whether what is
    played on them sounds as the active voice does. clock: whether MIDI clock is sent. follow: as
    `playback.Follow`'s source. synced: how following goes.
    """

    changed = Signal()

    def __init__(self, session: Session, player: Player, settings: QSettings) -> None:
        super().__init__(player)
        self._session, self._player, self._settings = session, player, settings
        stored = _stored(str(settings.value("rig", "")))
        inputs = stored.get("inputs")
        names = inputs if isinstance(inputs, list) else []
        self.inputs = tuple(n for n in names if isinstance(n, str) and n)
        self.thru = stored.get("thru") is not False
        self.clock = stored.get("clock") is True
        follow = stored.get("follow", "")
        self.follow = follow if isinstance(follow, str) else ""
        self.synced = playback.Synced("", "own", 120.0)
        self._thru: playback.Thru | None = None
        self._taught: frozenset[playback.Taught] = frozenset()
        self._program: tuple[str, bytes] | None = None
        player.opened.connect(self.begin)
        player.synced.connect(self._synced)
        for signal in (session.active_track_changed, session.changed):
            signal.connect(self._reroute)

    def begin(self) -> None:
        """Tell a link that has just been opened what is connected."""
        self._player.send(playback.Listen(self.inputs))
        self._player.send(playback.SendClock(self.clock))
        self._player.send(playback.Follow(self.follow))
        self._thru = None
        self._reroute()

    def listen(self, names: tuple[str, ...]) -> None:
        """Hear exactly these inputs, as soon as they are there."""
        self.inputs = tuple(dict.fromkeys(names))
        self._player.send(playback.Listen(self.inputs))
        self._reroute()
        self._keep()

    def set_thru(self, on: bool) -> None:
        """Let what is played sound as the active voice does, or don't."""
        self.thru = on
        self._reroute()
        self._keep()

    def set_taught(self, controls: frozenset[playback.Taught]) -> None:
        """Let these controls, which move things of ours, not sound besides."""
        self._taught = controls
        self._reroute()

    def set_clock(self, on: bool) -> None:
        """Send MIDI clock to every open output, or don't."""
        self.clock = on
        self._player.send(playback.SendClock(on))
        self._keep()

    def set_follow(self, source: str) -> None:
        """Follow that source's time."""
        self.follow = source
        self.synced = playback.Synced(source, "waiting" if source else "own", self.synced.bpm)
        self._player.send(playback.Follow(source))
        self._keep()

    def sources(self) -> list[str]:
        """Whose time can be followed, the one chosen included."""
        found = ["", LINK]
        for name in dict.fromkeys((*self._player.inputs, *self.inputs)):
            found += [prefix + name for prefix, _ in SOURCES]
        return list(dict.fromkeys([*found, self.follow]))

    def sync_text(self) -> str:
        """How following goes, in a few words beside the name of who is followed."""
        text = STATES.get(self.synced.state, self.synced.state)
        locked = self.synced.state in ("locked", "lost")
        return f"{text}, {self.synced.bpm:.1f} bpm" if locked else text

    def followed_text(self) -> str:
        """Whose tempo rules in place of the score's, and how fast it is, in a word or two; "" for our own."""
        kind = self.synced.source.partition(":")[0]
        if not kind:
            return ""
        tempo = f"{self.synced.bpm:.1f}"
        how = {"locked": tempo, "lost": f"gone, {tempo}"}.get(self.synced.state, "awaited")
        return f"{KINDS.get(kind, kind)} {how}"

    def _synced(self, event: playback.Synced) -> None:
        self.synced = event
        self.changed.emit()

    def _keep(self) -> None:
        kept = {
            "inputs": self.inputs,
            "thru": self.thru,
            "clock": self.clock,
            "follow": self.follow,
        }
        self._settings.setValue("rig", json.dumps(kept))
        self.changed.emit()

    def _reroute(self, _change: object = None) -> None:
        """Let the inputs sound where the active voice does."""
        session = self._session
        track = next((t for t in session.score.tracks if t.id == session.active_track), None)
        route = None
        if self.thru and self.inputs:
            port, channel = (track.port, track.channel) if track is not None else ("", 0)
            route = playback.Route("", port, channel)
            program = track.program if track is not None else 0
            message = bytes((schedule.PROGRAM | channel, program))
            if (port, message) != self._program:
                self._program = (port, message)
                self._player.send(playback.Live(port, message))
        thru = playback.Thru(() if route is None else (route,), self._taught)
        if thru != self._thru:
            self._thru = thru
            self._player.send(thru)


def _stored(text: str) -> dict[str, object]:
    """What was remembered; nothing when it is no longer readable."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
