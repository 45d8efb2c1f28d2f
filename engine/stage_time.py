"""When is what on stage: performance time, which only goes on, beside the ticks of the playhead, which may jump.

A performance counts ticks of its own ("u"): as the playhead's while it goes on, and further on where the
playhead goes back to the start of a loop or is moved. What is made is planned in u and played in ticks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from engine.playback import Anchor
from engine.staging import Quantum, Scene
from models.score import Column
from models.timebase import PPQ, MeterMap, TempoMap

NEAR = PPQ // 4
"""A playhead found so near to where it was expected has not jumped."""


@dataclass(frozen=True)
class Timeline:
    """Where the performance is at each moment, by the transport's last anchor.

    u = tick + `shift` up to the end of the loop; beyond it u goes on while the tick begins again.
    """

    tempo: TempoMap
    meter: MeterMap
    loop: tuple[int, int] | None = None
    anchor: Anchor = field(default_factory=Anchor)
    shift: int = 0

    @property
    def playing(self) -> bool:
        """Whether the playhead moves."""
        return self.anchor.playing

    @property
    def looping(self) -> bool:
        """Whether the playhead will go back at the loop's end."""
        return self.loop is not None and self.anchor.tick < self.loop[1]

    @property
    def _ends(self) -> tuple[int, int]:
        """Start and end of the loop in force, as ticks; out of reach without one."""
        if self.loop is not None and self.looping:
            return self.loop
        return 0, 1 << 60

    # --- moments -----------------------------------------------------------------------------------

    def position(self, now: int) -> float:
        """u at the moment `now`."""
        tick = self.anchor.position(self.tempo, now)
        start, end = self._ends
        if tick < end:
            return tick + self.shift
        tempo, rate = self._tempo
        first = tempo.second(start)
        round_seconds = (tempo.second(end) - first) / rate
        since = (now - self.anchor.moment(self.tempo, end)) * 1e-9
        rounds, over = divmod(since, round_seconds)
        rest = float(tempo.ticks(first + over * rate)) - start
        return self.shift + end + rounds * (end - start) + rest

    def moment(self, u: float) -> int:
        """When the performance is at `u`, in nanoseconds of the clock; it must be playing."""
        tick = u - self.shift
        start, end = self._ends
        if tick < end:
            return self.anchor.moment(self.tempo, tick)
        rounds, rest = divmod(tick - end, end - start)
        tempo, rate = self._tempo
        first = tempo.second(start)
        seconds = rounds * (tempo.second(end) - first) + tempo.second(start + rest) - first
        return self.anchor.moment(self.tempo, end) + round(seconds / rate * 1e9)

    @property
    def _tempo(self) -> tuple[TempoMap, float]:
        """The tempo map that is followed, and how many of its seconds pass in one."""
        if self.anchor.bpm:
            return TempoMap.constant(self.anchor.bpm), 1.0
        return self.tempo, self.anchor.rate

    def bpm(self, u: float) -> float:
        """Quarter notes a minute at `u`."""
        return self.anchor.bpm or self.tempo.bpm(self.place(u)) * self.anchor.rate

    # --- places ------------------------------------------------------------------------------------

    def places(self, u: Column) -> Column:
        """The tick of the playhead at each `u` (int64)."""
        start, end = self._ends
        tick = u - self.shift
        return np.where(tick < end, tick, start + (tick - start) % (end - start))

    def place(self, u: float) -> int:
        """The tick of the playhead at `u`, rounded down."""
        return int(self.places(np.array([int(u)]))[0])

    def until(self, u: int) -> int:
        """The first u after `u` at which the playhead goes back; far away without a loop."""
        start, end = self._ends
        tick = u - self.shift
        if tick < end:
            return end + self.shift
        return u + (end - start) - (tick - end) % (end - start)

    def horizon(self, u: float) -> float:
        """Up to where music may be laid while the performance is at `u`: further on a loop would play it too soon."""
        start, end = self._ends
        return u + end - start - NEAR // 2

    def bar_length(self, u: float) -> int:
        """Ticks of the bar at `u`; of an upbeat those of the bar it belongs to."""
        numerator, denominator = self.meter.at(max(self.place(u), 0))
        return numerator * 4 * PPQ // denominator

    def beat_length(self, u: float) -> int:
        """Ticks of the beat at `u`."""
        return self.meter.beat_ticks(max(self.place(u), 0))

    def offset(self, u: float) -> int:
        """How far into its bar `u` lies."""
        return self.meter.position(max(self.place(u), 0)).offset

    def following(self, u: float, quantum: Quantum = Quantum.BAR) -> int:
        """The first bar line or beat at or after `u`; a jump back counts as neither."""
        at = -int(-u // 1)
        for _ in range(8):  # a loop may hold no bar line at all
            bar = self.meter.position(max(self.place(at), 0))
            length = max(bar.length, 1)
            if quantum is Quantum.BEAT:
                beat = self.beat_length(at)
                step = min(-(-bar.offset // beat) * beat, length) - bar.offset
            else:
                step = length - bar.offset if bar.offset else 0
            back = self.until(at)
            if at + step < back or step == 0:
                return at + step
            at = back
        return at

    # --- changes -----------------------------------------------------------------------------------

    def at(self, now: int) -> Timeline:
        """The same, anchored at the moment `now`."""
        u = self.position(now)
        shift = int(u) - self.place(u)
        anchor = replace(self.anchor, tick=u - shift, at=max(now, self.anchor.at))
        return replace(self, anchor=anchor, shift=shift)

    def staged(self, scene: Scene, now: int) -> Timeline:
        """The same moment in another scene, as the transport will be told of it about now."""
        loop = None if scene.loop is None else (scene.loop.start, scene.loop.end)
        here = self.at(now)
        return replace(here, tempo=scene.score.tempo, meter=scene.score.meter, loop=loop)

    def resting(self, now: int) -> Timeline:
        """The same place, with a playhead that has stopped there."""
        here = self.at(now)
        return replace(here, anchor=replace(here.anchor, playing=False))

    def anchored(self, anchor: Anchor) -> tuple[Timeline, float | None]:
        """The timeline from that anchor on, and the u that the playhead has left if it jumped other than at the
        loop's end.

        u goes on in either case; u and ticks keep their distance wherever they can. After a jump u is as far on in
        its bar as the playhead, so that bars planned in u stay bars.
        """
        if not self.anchor.at and not self.shift:  # the first word from the transport
            return replace(self, anchor=anchor), None
        u = self.position(anchor.at)
        bent = replace(self, anchor=anchor)
        if self.loop is not None and self.looping:
            start, end = self.loop
            back = self.shift + end - start  # the shift after the next jump back
            while u - back > end - NEAR:
                back += end - start
            if abs(anchor.tick + back - u) <= NEAR and u - self.shift > end - NEAR:
                return replace(bent, shift=back), None
        if abs(anchor.tick + self.shift - u) <= NEAR:
            return bent, None
        # Whole ticks, and never back: what has been played stays behind.
        shift = -int(-(u - anchor.tick) // 1)
        offset = self.meter.position(int(anchor.tick)).offset
        shift += (offset - self.offset(int(anchor.tick) + shift)) % self.bar_length(u)
        return replace(bent, shift=shift), u
