"""Controllers: what moves on a MIDI input moves things of ours, and is taught to by moving it.

Values go as `controls` says: a control takes hold of its target where it meets it, and however fast it sends,
a target is set once in WINDOW_MS. Presses keep their order among themselves and with what was moved before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PySide6.QtCore import QObject, QSettings, QTimer, Signal

from app.controls import (
    MIDDLE,
    MODES,
    NEEDS,
    RELATIVE,
    Control,
    Gesture,
    Grip,
    Hand,
    Kind,
    Mapping,
    Mode,
    Source,
    Sweep,
    detents,
    restored,
    stored,
)
from app.reading import Reader
from app.targets import Target
from models.score import UserError

WINDOW_MS = 16
REST_MS = 300
"""A hand that has moved nothing for so long rests."""

PAIR_NS = 20_000_000
"""Two controllers of a pair that come one right after the other, within so long, are one control."""

FLOOD = 100
"""So many presses of one control too soon after another, in one go, are told."""

KEY, UNREADABLE = "midi_controls", "midi_controls_unreadable"
FORMER = {f"controller_{target}": target for target in ("map_x", "map_y", "path")}
"""Settings that held the number of a controller before there was a list of mappings."""


class Controllers(QObject):
    """Which control moves what. Give it targets (`add`) and every message of every input (`receive`).

    `moved(target, share)`: a target was set; for one that is not in the table, what its control asks for.
    `waiting(target, direction)`: its control has no hold of it yet, and must go up (1) or down (−1); 0: it has.
    `learning_changed()`, `learnt(target)`, `changed()` (the mappings), `table_changed()` (the targets).
    `echoed(words)`: what arrives, at most once in WINDOW_MS. `said(sentence)`: what the user must know.

    A control moves one target, a target may have several controls. Of two mappings that both mean what was
    moved, the one that names its device counts, then the one that names its channel, then the one of 14 bits.
    """

    moved = Signal(str, float)
    waiting = Signal(str, int)
    learning_changed = Signal()
    learnt = Signal(str)
    changed = Signal()
    table_changed = Signal()
    echoed = Signal(str)
    said = Signal(str)

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._targets: dict[str, Target] = {}
        self._grips: dict[Mapping, Grip] = {}
        self._by_number: dict[tuple[Source, int], list[Mapping]] = {}
        self._reader = Reader()
        self._foreign: list[object] = []
        self._learning: str | None = None
        self._newest: tuple[Mapping, Control, int] | None = None
        self._waits: dict[str, int] = {}
        self._pending: dict[tuple[Mapping, Hand], Sweep] = {}
        self._pressed: set[Mapping] = set()
        self._left_out: dict[Mapping, int] = {}
        self._unsettled: dict[str, None] = {}
        self._last: Gesture | None = None
        self._early = False
        self._window = QTimer(self, interval=WINDOW_MS)
        self._window.timeout.connect(self._tick)
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self.settle)
        self._restore()

    # --- targets -------------------------------------------------------------------------------------

    @property
    def targets(self) -> tuple[Target, ...]:
        """What can be moved, in the order in which it was added."""
        return tuple(self._targets.values())

    def add(self, *targets: Target) -> None:
        """Let these be moved; one whose id is known takes that one's place."""
        self._targets |= {target.id: target for target in targets}
        self.table_changed.emit()

    def target(self, target_id: str) -> Target | None:
        """The target of that id."""
        return self._targets.get(target_id)

    def title(self, target_id: str) -> str:
        """What to call a target, whether or not it is in the table."""
        target = self._targets.get(target_id)
        if target is not None:
            return target.whole_title
        return target_id.rpartition("/")[2].replace("_", " ").capitalize()

    def direction(self, target_id: str) -> int:
        """Where the control that was moved last must go to take hold of a target: 1 up, −1 down, 0 it has."""
        return self._waits.get(target_id, 0)

    # --- mappings ------------------------------------------------------------------------------------

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """Every mapping, in the order in which they were taught."""
        return tuple(self._grips)

    def of(self, target_id: str) -> tuple[Mapping, ...]:
        """The mappings that move a target."""
        return tuple(m for m in self._grips if m.target == target_id)

    def modes(self, mapping: Mapping) -> tuple[Mode, ...]:
        """How the control may move its target, the usual way first."""
        target = self._targets.get(mapping.target)
        if target is None:
            return (mapping.mode,)
        return MODES.get((target.kind, mapping.control.source), ())

    def change(
        self, old: Mapping, *, control: Control | None = None, mode: Mode | None = None
    ) -> None:
        """Let a mapping mean another control or move its target in another way; what that control moved
        before it does no more, which is said."""
        new = replace(old, control=control or old.control, mode=mode or old.mode)
        if old not in self._grips or new == old:
            return
        others = [m for m in self._grips if m != old and m.control.clashes(new.control)]
        self._adopt([new if m == old else m for m in self._grips if m not in others])
        if others:
            self.said.emit(self._taken(new, others))

    def remove(self, *mappings: Mapping) -> None:
        """Let these controls move nothing any more."""
        self._adopt([m for m in self._grips if m not in mappings])

    def forget(self, *targets: str) -> None:
        """Let no control move these targets any more."""
        self.remove(*(m for m in self._grips if m.target in targets))

    def _adopt(self, mappings: list[Mapping]) -> None:
        """Have exactly these, and remember them."""
        self._show(mappings)
        self._settings.setValue(KEY, stored(mappings, self._foreign))
        moved = {m.target for m in mappings}
        for target_id in [t for t in self._waits if t not in moved]:
            self._wait(target_id, 0)
        self.changed.emit()

    def _show(self, mappings: list[Mapping]) -> None:
        self._grips = {m: self._grips.get(m, Grip()) for m in mappings}
        self._by_number = {}
        for m in sorted(mappings, key=_vagueness):
            self._by_number.setdefault((m.control.source, m.control.number), []).append(m)

    def _restore(self) -> None:
        text = str(self._settings.value(KEY, "") or "")
        mappings: list[Mapping] = []
        if text:
            try:
                mappings, self._foreign = restored(text)
            except ValueError:
                self._settings.setValue(UNREADABLE, text)
        former = {key: str(self._settings.value(key, "")) for key in FORMER}
        for key, number in former.items():
            if number.isdecimal() and int(number) <= 127:
                control = Control(Source.CC, int(number))
                if all(m.control != control for m in mappings):
                    mappings.append(Mapping(FORMER[key], control, Mode.PICK_UP))
        self._show(mappings)
        if any(former.values()):
            self._settings.setValue(KEY, stored(mappings, self._foreign))
            for key in FORMER:
                self._settings.remove(key)

    # --- learning ------------------------------------------------------------------------------------

    @property
    def learning(self) -> str | None:
        """The target the next control that moves is to move."""
        return self._learning

    def learn(self, target_id: str) -> None:
        """Let the next control that moves, and can, move that target. Until then none moves anything."""
        self._set_learning(target_id)

    def cancel(self) -> None:
        """Learn nothing after all."""
        self._set_learning(None)

    def _set_learning(self, target_id: str | None) -> None:
        if target_id != self._learning:
            self._learning = target_id
            self._pending.clear()
            self.learning_changed.emit()

    def _kind(self, target_id: str) -> Kind:
        target = self._targets.get(target_id)
        return target.kind if target is not None else Kind.NUMBER

    def _teach(self, gesture: Gesture, at_ns: int) -> None:
        target_id, control = self._learning, gesture.control
        assert target_id is not None
        kind = self._kind(target_id)
        steps = gesture.step != 0
        every = MODES.get((kind, control.source), ())
        modes = tuple(m for m in every if (m is Mode.STEPS) is steps)
        if not modes:
            if gesture.share > 0:
                self.said.emit(
                    f"{self.title(target_id)} needs {NEEDS[kind]}; {control.title()} cannot move it."
                )
            return
        pressed = kind in (Kind.ACTION, Kind.SWITCH) or control.source is Source.NOTE
        if pressed and gesture.share < MIDDLE:
            return  # a button that is let go, or a bank number before a program
        before = [m for m in self._grips if m.control.clashes(control)]
        mode = next((m.mode for m in before if m.target == target_id and m.mode in modes), modes[0])
        mapping = Mapping(target_id, control, mode)
        self._adopt([*(m for m in self._grips if m not in before), mapping])
        self._grips[mapping].at[_hand(gesture)] = gesture.share
        self._newest = mapping, control, at_ns
        self._set_learning(None)
        self.learnt.emit(target_id)
        self.said.emit(self._taken(mapping, before))

    def _widen(self, readings: Sequence[Gesture], at_ns: int) -> bool:
        """Whether this is the other half of the controller that was taught just before: it means both now, in
        14 bits. A controller that is taught by itself is nobody's half."""
        pair, heard = readings[0], readings[-1].control
        if self._newest is None:
            return False
        mapping, control, since_ns = self._newest
        if (control.device, control.channel) != (heard.device, heard.channel):
            return False
        self._newest = None
        kind = self._kind(mapping.target)
        if (
            control.source is not Source.CC
            or pair.control.source is not Source.CC14
            or pair.control.controllers() != {control.number, heard.number}
            or at_ns - since_ns > PAIR_NS
            or mapping not in self._grips
            or (kind, Source.CC14) not in MODES
            or self._near(heard) is not None
        ):
            return False
        modes = MODES[kind, Source.CC14]
        mode = mapping.mode if mapping.mode in modes else modes[0]
        wide = Mapping(mapping.target, pair.control, mode)
        self._adopt([wide if m == mapping else m for m in self._grips])
        self._grips[wide].at[_hand(pair)] = pair.share
        self.learnt.emit(wide.target)
        self.said.emit(self._taken(wide, ()))
        return True

    def _taken(self, mapping: Mapping, before: Sequence[Mapping]) -> str:
        """What a control moves now, and what no more."""
        words = f"{mapping.control.whole_title()} now moves {self.title(mapping.target)}"
        lost = dict.fromkeys(self.title(m.target) for m in before if m.target != mapping.target)
        return f"{words}, and {' and '.join(lost)} no more." if lost else words + "."

    # --- what comes in -------------------------------------------------------------------------------

    def receive(self, message: bytes, device: str = "", at_ns: int = 0) -> bool:
        """A message came in from an input at that moment. True when its control moves something of ours, so
        that it is no music. While one is learnt everything is, and keys that are let go always are, lest one
        hang."""
        readings = self._reader.read(message, device)
        if not readings or self._widen(readings, at_ns):
            return bool(readings)
        found = self._find(readings) if self._learning is None else None
        mapping, gesture = found or (None, readings[-1])
        if mapping is None and not gesture.whole:
            return self._is_number_of_ours(gesture.control)
        if not self._window.isActive():
            self._window.start()
            self._early = True
        if not gesture.whole:
            self._reader.hold(gesture.control)
            return True
        self._last = gesture
        if self._learning is not None:
            self._teach(gesture, at_ns)
        elif mapping is not None:
            self._heard(mapping, gesture)
        if self._early:
            self._early = False
            self._flush()
            self._echo()
        released = gesture.control.source is Source.NOTE and not gesture.share
        return mapping is not None and not released

    def _find(self, readings: Sequence[Gesture]) -> tuple[Mapping, Gesture] | None:
        """The mapping that counts, and what the message means to it."""
        found = [(m, g) for g in readings if (m := self._near(g.control)) is not None]
        return min(found, key=lambda pair: _vagueness(pair[0]), default=None)

    def _near(self, control: Control) -> Mapping | None:
        """The mapping that names most of those that mean a control."""
        near = self._by_number.get((control.source, control.number), ())
        mapping = next((m for m in near if m.control.covers(control)), None)
        if mapping is not None and control.source is Source.CC14:
            # Whoever has the coarse half has the control; the fine one alone would be a place of its own.
            coarse = self._near(replace(control, source=Source.CC))
            if coarse is not None and _vagueness(coarse) < _vagueness(mapping):
                return None
        return mapping

    def _is_number_of_ours(self, part: Control) -> bool:
        """Whether half a parameter number comes from where parameters are taught."""
        return self._learning is None and any(
            m.control.source is Source.NRPN
            and m.control.covers(replace(part, source=Source.NRPN, number=m.control.number))
            for m in self._grips
        )

    def _mode(self, mapping: Mapping) -> Mode | None:
        """How the control moves its target; None when it cannot."""
        modes = self.modes(mapping)
        return mapping.mode if mapping.mode in modes else modes[0] if modes else None

    def _heard(self, mapping: Mapping, gesture: Gesture) -> None:
        mode, hand = self._mode(mapping), _hand(gesture)
        if (mode is Mode.STEPS) is not bool(gesture.step):
            return
        if mode is Mode.PRESS:
            grip, source = self._grips[mapping], mapping.control.source
            was = grip.at.get(hand, 0.0) if source in (Source.CC, Source.NRPN) else 0.0
            grip.at[hand] = gesture.share
            if was < MIDDLE <= gesture.share:
                self._press(mapping)
        elif mode is not None:
            turns = detents(mode, gesture.raw) if mode in RELATIVE else 0
            sweep = self._pending.get((mapping, hand))
            if sweep is None:
                share = gesture.share
                self._pending[mapping, hand] = Sweep(share, share, share, turns)
            else:
                sweep.go(gesture.share, turns)

    def _press(self, mapping: Mapping) -> None:
        """Do it once in a window, after what was moved before."""
        if mapping in self._pressed:
            self._left_out[mapping] = self._left_out.get(mapping, 0) + 1
            if self._left_out[mapping] == FLOOD:
                self.said.emit(
                    f"{mapping.control.whole_title()} sends more presses than anyone could mean; "
                    f"{self.title(mapping.target)} follows {1000 // WINDOW_MS} a second."
                )
            return
        self._pressed.add(mapping)
        self._flush()
        self.settle()
        target = self._targets.get(mapping.target)
        share, now, last = 1.0, None, 1
        if target is not None and target.kind is not Kind.ACTION:
            now, last = _place(target), max(target.places - 1, 1)
            share = 0.0 if now is None else (round(now * last) + 1) % (last + 1) / last
        self._set(mapping.target, share)

    def _tick(self) -> None:
        """A window is over."""
        self._early = False
        for gesture in self._reader.rest():
            mapping = self._near(gesture.control)
            if mapping is not None and self._learning is None:
                self._last = gesture
                self._heard(mapping, gesture)
        busy = bool(self._pending or self._pressed) or self._last is not None
        busy = busy or self._reader.holding
        for mapping in [m for m in self._left_out if m not in self._pressed]:
            del self._left_out[mapping]
        self._pressed.clear()
        if not busy:
            self._window.stop()
        self._flush()
        self._echo()

    def _echo(self) -> None:
        gesture, self._last = self._last, None
        if gesture is not None:
            control = gesture.control
            words = [control.title(), str(gesture.raw), f"channel {(control.channel or 0) + 1}"]
            self.echoed.emit(" · ".join([*words, *([control.device] if control.device else [])]))

    # --- moving --------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Move what is to be moved, in the order in which it was first heard."""
        while self._pending:
            mapping, hand = next(iter(self._pending))
            sweep = self._pending.pop((mapping, hand))
            if mapping in self._grips:
                self._move(mapping, hand, sweep)

    def _move(self, mapping: Mapping, hand: Hand, sweep: Sweep) -> None:
        grip, mode = self._grips[mapping], self._mode(mapping)
        target = self._targets.get(mapping.target)
        now = _place(target)
        share: float | None = sweep.share
        if mode is Mode.HOLD:
            was, share = grip.at.get(hand, 0.0) >= MIDDLE, float(sweep.share >= MIDDLE)
            if was == bool(share):
                share = None
        elif mode in RELATIVE:
            if now is None or target is None:
                share = None
            else:
                share = grip.turned(sweep, now, target.places)
        elif mode is Mode.PICK_UP and not grip.catches(hand, sweep, now):
            share = None
            self._wait(mapping.target, 1 if now is not None and now > sweep.share else -1)
        grip.at[hand] = sweep.share
        if share is not None:
            self._set(mapping.target, share)
            grip.keep(hand, share, _place(target))

    def _set(self, target_id: str, share: float) -> None:
        target = self._targets.get(target_id)
        if target is not None:
            try:
                target.set(share)
            except UserError as error:
                self.said.emit(str(error))
                return
            if target.settle is not None:
                self._unsettled[target_id] = None
                self._rest.start()
        self._wait(target_id, 0)
        self.moved.emit(target_id, share)

    def _wait(self, target_id: str, direction: int) -> None:
        if self._waits.get(target_id, 0) != direction:
            self._waits[target_id] = direction
            self.waiting.emit(target_id, direction)

    def settle(self) -> None:
        """The hand rests: targets that were moved make up their mind."""
        self._rest.stop()
        unsettled, self._unsettled = list(self._unsettled), {}
        for target in (self._targets.get(target_id) for target_id in unsettled):
            if target is not None and target.settle is not None:
                target.settle()


def _vagueness(mapping: Mapping) -> tuple[bool, bool]:
    """The more a mapping names, the sooner it is found."""
    return mapping.control.device == "", mapping.control.channel is None


def _hand(gesture: Gesture) -> Hand:
    return gesture.control.device, gesture.control.channel


def _place(target: Target | None) -> float | None:
    """Where the target stands, within what a control can reach."""
    now = target.get() if target is not None else None
    return None if now is None else min(max(now, 0.0), 1.0)
