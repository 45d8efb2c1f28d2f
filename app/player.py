"""Player: lets the transport play what the session shows, and keeps the session's playhead true to it."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol

from PySide6.QtCore import QObject, QTimer, Signal

from app.bridge import Bridge
from app.composer import whole_bars
from app.session import Playhead, Session
from engine import playback, schedule
from engine.document import Change
from models.score import Score, Track

PLAYING_MS, RESTING_MS = 30, 200
"""Changes reach the transport this long after the first of them, while it plays and while it rests."""

CLOSE_SECONDS = 0.5
"""How long the window waits for the last notes to be ended."""

RESTARTED = "The MIDI process ended unexpectedly; it has been started again."
GIVEN_UP = (
    "The MIDI process keeps ending: nothing sounds. Start Ricercar again; your music is kept."
)

BUILT_IN = "Built-in synth"
VIRTUAL = "virtual:Ricercar"


class Link(Protocol):
    """What the player needs of `engine.midi.MidiLink`."""

    def send(self, command: playback.Request) -> None: ...

    def close(self, seconds: float = ...) -> None: ...


OpenLink = Callable[[Callable[[playback.Event], None]], Link]


def port_title(port: str) -> str:
    """A port's name for the user."""
    if not port:
        return BUILT_IN
    return f"{port.removeprefix('virtual:')} (virtual)" if port.startswith("virtual:") else port


def port_text(port: str, there: Container[str]) -> str:
    """As `port_title`, and whether it is not among the ports that are there."""
    missing = port not in there and port and not port.startswith("virtual:")
    return f"{port_title(port)}, not there now" if missing else port_title(port)


class Player(QObject):
    """Plays the session through a link to the transport, which opens at `start`.

    `opened` says that there is a link now. `ports_changed` follows `outputs` and `inputs`, the names of the
    MIDI ports there are. `received`, `anchored` and `synced` pass on what the transport tells
    (`engine.playback`); `played` is for those of the messages received that are music, and emitted by whoever
    tells them apart. `input_lost(name)`: a MIDI input is gone. `restarted` says that the transport's process
    had to be started again.
    """

    opened = Signal()
    ports_changed = Signal()
    received = Signal(object)
    played = Signal(object)
    anchored = Signal(object)
    synced = Signal(object)
    input_lost = Signal(str)
    restarted = Signal()

    def __init__(self, session: Session, open_link: OpenLink) -> None:
        super().__init__(session)
        self._session, self._open_link = session, open_link
        self._bridge = Bridge(self._receive, self)
        self._link: Link | None = None
        self._sent: Score | None = None
        self._lost: set[str] = set()
        self._began = 0
        self._rest: float | None = None  # where the playhead goes back to after a phrase
        self.endless = False
        """Whether the end of the music does not stop it: a performance goes on there."""
        self.outputs: tuple[str, ...] = ()
        self.inputs: tuple[str, ...] = ()
        self._later = QTimer(self, singleShot=True)
        self._later.timeout.connect(self._synchronise)
        session.changed.connect(self._changed)
        session.loop_changed.connect(self._loop)
        session.sought.connect(self.seek)
        session.hearing_started.connect(self._hear)
        session.phrase_started.connect(self._phrase)
        session.auditioned.connect(self._audition)

    def start(self) -> None:
        """Open the link; what the session holds is sent to it."""
        if self._link is None:
            self._link = self._open_link(self._bridge)
            self.opened.emit()
            self._synchronise()

    def close(self) -> None:
        """End everything that sounds, and the link."""
        self._later.stop()
        self._bridge.close()
        if self._link is not None:
            self._link.close(CLOSE_SECONDS)
            self._link = None

    # --- commands ----------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Play, or stop where it is."""
        if self._session.playing:
            self.send(playback.Stop())
        else:
            self.play()

    def play(self, tick: int | None = None, until: int | None = None) -> None:
        """Play from `tick`, or the playhead (from the beginning when that is the end), up to `until`, or
        the end of the music."""
        session = self._session
        music = whole_bars(session.heard)
        if music is None:
            session.message.emit("There is nothing to play yet: draw some notes, or open a file.")
            return
        if tick is None:
            tick = int(session.playhead_tick())
        if session.loop is not None and not session.loop[0] <= tick < session.loop[1]:
            tick = session.loop[0]
        elif until is None and tick >= music[1]:
            tick = 0
        self._synchronise()
        self._began, self._rest = tick, None
        # A loop goes on to its end, though the music in it may be over sooner.
        end = music[1] if session.loop is None else max(music[1], session.loop[1])
        if until is None and not self.endless:
            until = end
        self.send(playback.Play(tick, until))

    def stop(self) -> None:
        """Stop and go back to where playing began; stopped already, go to the beginning."""
        if self._session.playing:
            self.send(playback.Stop())
            self.seek(self._began)
        else:
            self.seek(0)

    def halt(self) -> None:
        """Stop and go to the beginning, as another document comes."""
        self.send(playback.Stop())
        self.seek(0)

    def seek(self, tick: int) -> None:
        """Go to a tick, playing on if it plays."""
        if self._link is None:
            self._session.set_playhead(Playhead(float(tick)))
        self._began, self._rest = tick, None
        self.send(playback.Seek(tick))

    def panic(self) -> None:
        """Silence everything, whatever is known to sound, and say so."""
        self.send(playback.Panic())
        self._session.message.emit("All notes are off, on every port.")

    def send(self, command: playback.Request) -> None:
        """A command to the transport; nothing when there is no link."""
        if self._link is not None:
            self._link.send(command)

    # --- following the session -----------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        if not self._later.isActive():
            self._later.start(PLAYING_MS if self._session.playing else RESTING_MS)

    def _hear(self, tick: int) -> None:
        """What plays plays on, so that one can compare; what rests begins with the proposal."""
        if not self._session.playing:
            self.play(tick)

    def _phrase(self, start: int, end: int, again: bool) -> None:
        """What plays plays on; what rests plays the phrase, and goes back to where it was."""
        session = self._session
        if session.playing and (self._rest is None or not again):
            return
        if self._rest is None:
            self._rest = session.playhead_tick()
        self._synchronise()
        self.send(playback.Play(start, end))

    def _synchronise(self) -> None:
        self._later.stop()
        score = self._session.heard
        if self._link is not None and score is not self._sent:
            self._sent = score
            self.send(playback.Show(score))

    def _loop(self) -> None:
        loop = self._session.loop
        self.send(playback.Loop(*loop) if loop is not None else playback.Loop())

    def _audition(self, track_id: int, pitch: int, velocity: int) -> None:
        track = next((t for t in self._session.heard.tracks if t.id == track_id), Track(0, ""))
        if velocity:
            program = bytes((schedule.PROGRAM | track.channel, track.program))
            self.send(playback.Live(track.port, program))
        kind = schedule.NOTE_ON if velocity else schedule.NOTE_OFF
        self.send(playback.Live(track.port, bytes((kind | track.channel, pitch, velocity))))

    # --- answers -----------------------------------------------------------------------------------

    def _receive(self, event: object) -> None:
        session = self._session
        match event:
            case playback.Anchor(tick, at, playing, bpm, rate):
                session.set_playhead(Playhead(tick, at * 1e-9, playing, bpm, rate))
                self.anchored.emit(event)
                if self._rest is not None and not playing:
                    self.seek(int(self._rest))
            case playback.PortLost(name):
                self._lost.add(name)
                session.message.emit(
                    f"{port_title(name)} is not there; its voices play on silently until it is."
                )
            case playback.PortBack(name):
                if name in self._lost:
                    self._lost.discard(name)
                    session.message.emit(f"{port_title(name)} is back.")
            case playback.InputLost(name):
                self._lost.add(name)
                self.input_lost.emit(name)
                session.message.emit(
                    f"{port_title(name)} is not there; it is listened to once it is."
                )
            case playback.InputBack(name):
                if name in self._lost:
                    self._lost.discard(name)
                    session.message.emit(f"{port_title(name)} is heard again.")
            case playback.PortNames(outputs, inputs):
                self.outputs, self.inputs = outputs, inputs
                self.ports_changed.emit()
            case playback.Notice(sentence):
                session.message.emit(sentence)
            case playback.Played():
                self.received.emit(event)
            case playback.Synced():
                self.synced.emit(event)
            case playback.Ended(again):
                session.set_playhead(Playhead(session.playhead_tick()))
                session.message.emit(RESTARTED if again else GIVEN_UP)
                self.restarted.emit()
