"""What one asks of the transport, and what it answers: frozen dataclasses that cross threads and a pipe.

Ticks are positions in the score, moments are nanoseconds of `engine.clock`. A port is named by a string:
"" the built-in synth, "virtual:NAME" a port this program offers to others, anything else an output of
the system (see `engine.ports`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.schedule import Table
from models.score import Score
from models.timebase import PPQ, TempoMap

SHORTEST_LOOP = PPQ // 16


class Port(Protocol):
    """Where messages go. `send` returns at once; OSError when the port is gone."""

    def send(self, message: bytes) -> None: ...


class Ports(Protocol):
    """Whoever opens ports. It answers in the transport's inbox with PortOpened and PortLost."""

    def want(self, names: frozenset[str]) -> None:
        """Have exactly these ports open. Returns at once."""


@dataclass(frozen=True, eq=False)
class Load:
    """Let `track` play `table` on `port` from now on, instead of what it played before; all of it `offset`
    milliseconds later than the score says (−200…200)."""

    track: int
    port: str
    table: Table
    offset: int = 0


@dataclass(frozen=True)
class Unload:
    """Forget a track."""

    track: int


@dataclass(frozen=True)
class Tempo:
    """Follow this tempo map from now on; the position in the score stays."""

    tempo: TempoMap


@dataclass(frozen=True)
class Play:
    """Play from `tick` (None: from where it stands), up to `until` if given. Playing, it jumps."""

    tick: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class Stop:
    """Stop where it is."""


@dataclass(frozen=True)
class Seek:
    """Go to `tick`, and on playing if it plays."""

    tick: int


@dataclass(frozen=True)
class Loop:
    """From `end` jump back to `start`; start == end: don't. Something beyond `end` plays on.

    ValueError for a loop shorter than SHORTEST_LOOP ticks or one that begins before 0.
    """

    start: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        if self.start < 0 or (self and self.end - self.start < SHORTEST_LOOP):
            raise ValueError(f"a loop must hold at least {SHORTEST_LOOP} ticks")

    def __bool__(self) -> bool:
        return self.start != self.end


@dataclass(frozen=True)
class SendClock:
    """Send MIDI clock to every open output, or don't: pulses always, playing or not, and start, stop, continue and
    song position."""

    on: bool


@dataclass(frozen=True)
class Live:
    """Send a channel message now. A note-on is lifted by its note-off, or by itself after `seconds`.

    `source` names who plays it ("" the window, else a MIDI input): each source holds its own keys, and a
    key that several hold sounds until the last lets go. What is no channel message is ignored.
    """

    port: str
    message: bytes
    seconds: float | None = None
    source: str = ""


@dataclass(frozen=True)
class LetGo:
    """The input `source` has vanished, or leads elsewhere: end the notes and pedals that it holds."""

    source: str


@dataclass(frozen=True)
class Route:
    """What comes in from the input `source` ("" from any that is listened to) goes to the output `port`: on
    `channel`, or on its own (None); keys from `low` to `high` alone, moved by `transpose` semitones."""

    source: str
    port: str
    channel: int | None = None
    low: int = 0
    high: int = 127
    transpose: int = 0


@dataclass(frozen=True)
class Taught:
    """A control that moves something of the program: messages of that `kind` (status without channel) and
    `number` (key, controller or program, −1 for those without) from the input `source` ("" any) on `channel`
    (None any). nrpn: `number` is a non-registered parameter's, and its messages are all that set it."""

    kind: int
    number: int = -1
    channel: int | None = None
    source: str = ""
    nrpn: bool = False


@dataclass(frozen=True)
class Thru:
    """Pass on what is played in along these routes, at once and without leaving the MIDI process; but not
    what comes from controls that are taught, which is no music."""

    routes: tuple[Route, ...] = ()
    taught: frozenset[Taught] = frozenset()


@dataclass(frozen=True)
class Follow:
    """Whose time to follow: "" our own, "clock:NAME" the MIDI clock of that input, "mtc:NAME" its MIDI time
    code, "link" Ableton Link's."""

    source: str = ""


@dataclass(frozen=True)
class Timing:
    """A message about time (clock, start, stop, continue, song position, MTC) came in from `source` at the
    moment `at`. For the transport, from whoever reads the inputs."""

    at: int
    message: bytes
    source: str


@dataclass(frozen=True)
class Linked:
    """Ableton Link's time: at the moment `at` its beat (quarter notes, fractional) was `beat`, at `bpm`;
    whether its peers play, and how many there are. For the transport, from `engine.link`."""

    at: int
    beat: float
    bpm: float
    playing: bool
    peers: int


@dataclass(frozen=True)
class Panic:
    """Silence everything on every open port, whatever is known to sound."""


@dataclass(frozen=True)
class Report:
    """Ask for a Lateness; it counts anew from there."""


@dataclass(frozen=True)
class Quit:
    """End all notes and return."""


@dataclass(frozen=True, eq=False)
class PortOpened:
    """A wanted port is there: for the first time, or `again`, so that notes may have been left sounding there."""

    name: str
    port: Port
    again: bool = False


@dataclass(frozen=True)
class PortLost:
    """A port is gone, or could not be found; it is waited for."""

    name: str


@dataclass(frozen=True, eq=False)
class Show:
    """Play this score from now on. For a MidiLink, which makes Load, Unload and Tempo of what changed."""

    score: Score


@dataclass(frozen=True)
class Listen:
    """Tell what comes in from these MIDI inputs, and from no others. For a MidiLink; see Played.

    "virtual:NAME" is an input this program offers to others. One that is not there is waited for.
    """

    names: tuple[str, ...] = ()


Command = (
    Load
    | Unload
    | Tempo
    | Play
    | Stop
    | Seek
    | Loop
    | SendClock
    | Follow
    | Timing
    | Linked
    | Live
    | LetGo
    | Panic
    | Report
    | Quit
    | PortOpened
    | PortLost
)


@dataclass(frozen=True)
class Anchor:
    """At the moment `at` the playhead was at `tick`; it moves on from there if `playing`.

    With `bpm` it moves steadily at that tempo, whatever the tempo map says (somebody else's clock is
    followed); else through the tempo map, `rate` of its seconds in each second.
    """

    tick: float = 0.0
    at: int = 0
    playing: bool = False
    bpm: float = 0.0
    rate: float = 1.0

    def position(self, tempo: TempoMap, now: int) -> float:
        """The tick of the playhead at the moment `now`, by the tempo map the transport plays by."""
        if not self.playing or now <= self.at:
            return self.tick
        if self.bpm:
            return self.tick + (now - self.at) * self.bpm * PPQ / 60e9
        return float(tempo.ticks(tempo.second(self.tick) + (now - self.at) * 1e-9 * self.rate))

    def moment(self, tempo: TempoMap, tick: float) -> int:
        """When the playhead is at `tick`, the inverse of `position`."""
        if self.bpm:
            return self.at + round((tick - self.tick) * 60e9 / (self.bpm * PPQ))
        return self.at + round((tempo.second(tick) - tempo.second(self.tick)) * 1e9 / self.rate)


@dataclass(frozen=True)
class Lateness:
    """How late each of the last messages of tracks left, in nanoseconds as flat int64 bytes."""

    nanoseconds: bytes


@dataclass(frozen=True)
class PortBack:
    """A port is open: for the first time or again."""

    name: str


@dataclass(frozen=True)
class InputLost:
    """A MIDI input that is listened to or followed is gone, or could not be found; it is waited for.

    What was held on it has been let go.
    """

    name: str


@dataclass(frozen=True)
class InputBack:
    """A MIDI input is open: for the first time or again."""

    name: str


@dataclass(frozen=True)
class Played:
    """A message came in from the MIDI input `source` at the moment `at`."""

    at: int
    message: bytes
    source: str = ""


@dataclass(frozen=True)
class Synced:
    """How following goes: `state` is "own", "waiting" (nothing heard yet), "locked" or "lost" (it was heard,
    and is no more: the music goes on at its last tempo); `bpm` in quarter notes a minute, smoothed."""

    source: str
    state: str
    bpm: float


@dataclass(frozen=True)
class Notice:
    """Something the user should know, in one sentence."""

    sentence: str


@dataclass(frozen=True)
class PortNames:
    """The outputs and inputs there are now; sent at the start and whenever they change."""

    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """The transport runs, in process `pid`, with the priority the system granted ("SCHED_FIFO" …)."""

    pid: int
    priority: str


@dataclass(frozen=True)
class Ended:
    """The transport's process has ended without being asked to; it is started `again`, or ends too often for that."""

    again: bool = True


Event = (
    Anchor
    | Lateness
    | PortLost
    | PortBack
    | InputLost
    | InputBack
    | Played
    | Synced
    | Notice
    | PortNames
    | Ready
    | Ended
)

Request = Command | Show | Listen | Thru
"""What a MidiLink takes."""
