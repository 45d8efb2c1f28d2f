"""Document and its history: commits, previews, undo and redo, what listeners hear, deltas and their bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from music import edit, ordinary, scores

from engine import document as document_module
from engine import edits
from engine.delta import Delta, between
from engine.document import Change, Document, Step, difference
from engine.packed import DamagedError, label_of, pack, unpack
from models.score import Notes, Score, Track, UserError


class Listener:
    """Keeps every Change it is told."""

    def __init__(self, document: Document) -> None:
        self.heard: list[Change] = []
        self.stop = document.listen(self.heard.append)


class FullDisk:
    """A journal that refuses."""

    def commit(self, position: int, step: Step, score: Score, first: int) -> None:
        raise UserError("The disk is full.")

    def move(self, position: int, score: Score) -> None:
        raise UserError("The disk is full.")


def test_commit_undo_redo() -> None:
    start = ordinary(20)
    document = Document(start)
    assert (document.undo_label, document.redo_label) == (None, None)
    one = edits.move(start, [3], 240)
    two = edits.delete(one, [5])
    document.commit("Move notes", one)
    document.commit("Delete notes", two)
    assert (document.undo_label, document.redo_label) == ("Delete notes", None)
    document.undo()
    assert document.score == one
    assert (document.undo_label, document.redo_label) == ("Move notes", "Delete notes")
    document.undo()
    document.undo()  # nothing left: nothing happens
    assert document.score == start
    document.redo()
    document.redo()
    document.redo()
    assert document.score == two


def test_a_commit_after_undo_forgets_what_was_undone() -> None:
    document = Document(ordinary(20))
    document.commit("One", edits.move(document.score, [1], 240))
    document.undo()
    other = edits.move(document.score, [2], 240)
    document.commit("Other", other)
    assert document.redo_label is None
    document.redo()
    assert document.score == other


def test_an_equal_score_is_no_step() -> None:
    document = Document(ordinary(20))
    listener = Listener(document)
    document.commit("Nothing", edits.move(edits.move(document.score, [1], 240), [1], -240))
    assert document.undo_label is None
    assert listener.heard == []


def test_a_preview_ends_in_commit_or_revert() -> None:
    document = Document(ordinary(20))
    listener = Listener(document)
    start, dragged = document.score, edits.move(document.score, [1], 240)
    track = next(t.id for t in start.tracks if (t.notes.id == 1).any())
    document.preview(dragged)
    assert document.shown is dragged
    assert document.score is start
    document.revert()
    assert document.shown is start
    document.revert()
    assert listener.heard == [Change(frozenset({track}), committed=False)] * 2
    document.preview(dragged)
    document.commit("Move notes", dragged)
    assert document.score is document.shown is dragged
    # What was shown is what was committed, and yet listeners are told of the commit.
    assert listener.heard[2:] == [
        Change(frozenset({track}), committed=False),
        Change(frozenset({track}), committed=True),
    ]
    document.preview(start)
    document.undo()
    assert document.shown == start


def test_listeners_can_leave() -> None:
    document = Document(ordinary(20))
    listener = Listener(document)
    listener.stop()
    document.commit("Move", edits.move(document.score, [1], 240))
    assert listener.heard == []


def test_changes_say_what_to_repaint() -> None:
    score = ordinary(20)
    assert difference(score, edits.toggle_fermata(score, 0)) == Change(fermatas=True)
    added = difference(score, edits.add_track(score, "New"))
    assert added == Change(frozenset({score.next_track_id}), structure=True)
    assert not difference(score, score)


def test_undo_tells_only_of_what_it_changed() -> None:
    document = Document(ordinary(20))
    document.commit("Fermata", edits.toggle_fermata(document.score, 960))
    listener = Listener(document)
    document.undo()
    assert listener.heard == [Change(fermatas=True)]


def test_a_journal_that_refuses_leaves_the_document_as_it_was() -> None:
    document = Document(ordinary(20))
    document.commit("Move", edits.move(document.score, [1], 240))
    document.journal = FullDisk()
    listener = Listener(document)
    before, dragged = document.score, edits.move(document.score, [2], 240)
    document.preview(dragged)
    with pytest.raises(UserError, match="disk is full"):
        document.commit("Move", dragged)
    assert document.score is before
    assert document.shown is dragged
    with pytest.raises(UserError, match="disk is full"):
        document.undo()
    assert document.score is before
    assert document.position == 1
    assert len(listener.heard) == 1


def test_history_is_bounded_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "HISTORY_STEPS", 5)
    document = Document(ordinary(20))
    passed = [document.score]
    for k in range(12):
        document.commit(f"Step {k}", edits.move(document.score, [k], 240))
        passed.append(document.score)
    assert (document.first, document.position, len(document.steps)) == (7, 12, 5)
    for _ in range(9):
        document.undo()
    assert document.score == passed[7]
    assert document.undo_label is None


def test_history_is_bounded_by_bytes_but_keeps_the_last_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = Document(ordinary(100))
    step = Step.of("Move all", document.score, edits.move(document.score, range(100), 240))
    monkeypatch.setattr(document_module, "HISTORY_BYTES", round(3.5 * len(step.data)))
    for _ in range(6):
        document.commit("Move all", edits.move(document.score, range(100), 240))
    assert len(document.steps) == 3
    document.commit("Many", edits.add(document.score, 0, ordinary(5000).tracks[0].notes))
    assert [step.label for step in document.steps] == ["Many"]
    document.undo()
    assert len(document.score.track(0).notes) == 25


def test_ids_that_collide_are_made_unique_on_opening() -> None:
    notes = Notes.of([0, 960], 240, 60)
    document = Document(Score((Track(0, "a", notes), Track(1, "b", notes))))
    document.commit("Delete", edits.delete(document.score, [0]))
    assert [len(t.notes) for t in document.score.tracks] == [1, 2]


@given(scores(), scores())
def test_a_delta_leads_there_and_back(old: Score, new: Score) -> None:
    delta = between(old, new)
    assert delta.apply(old) == new
    assert delta.inverse().apply(new) == old
    assert unpack(pack(delta)).apply(old) == new
    assert unpack(pack(between(Score(), new))).apply(Score()) == new


@given(scores(), st.integers(0, 2**32 - 1))
def test_a_delta_of_an_edit_shares_what_it_leaves_alone(score: Score, seed: int) -> None:
    rng = np.random.default_rng(seed)
    new = edit(score, rng)
    back = between(score, new).inverse().apply(new)
    assert back == score
    for track in new.tracks:
        if track in score.tracks:
            assert any(t is track for t in back.tracks)


@pytest.mark.parametrize("ids", [[5, 5, 2], [2**50, 3, 7], [0, 2**40, 2**41]])
def test_deltas_of_notes_with_odd_ids(ids: list[int]) -> None:
    def score(pitches: list[int]) -> Score:
        columns = Notes.of([0, 10, 20], 5, pitches)
        return Score((Track(0, "a", columns.with_(id=ids)),))

    old, new = score([60, 61, 62]), score([60, 70, 62])
    assert between(old, new).apply(old) == new
    assert between(old, new).inverse().apply(new) == old
    assert between(old, score([60, 61, 62])) == Delta()


def test_a_delta_refuses_a_score_it_was_not_made_on() -> None:
    score = ordinary(20)
    moved = between(score, edits.move(score, [1], 240))
    gone = edits.delete(score, [1])
    with pytest.raises(ValueError, match="lacks notes"):
        moved.apply(gone)
    with pytest.raises(ValueError, match="has notes already"):
        between(gone, score).apply(score)
    shorter = edits.remove_track(score, 1)
    with pytest.raises(ValueError, match="not those the change was made on"):
        between(score, edits.remove_track(score, 0)).apply(shorter)
    with pytest.raises(ValueError, match="not as it was"):
        moved.apply(shorter)
    with pytest.raises(ValueError, match="tempo, metre"):
        between(score, edits.toggle_fermata(score, 9)).apply(edits.toggle_fermata(score, 8))


def test_a_small_edit_of_a_large_score_is_a_small_step() -> None:
    score = ordinary(100_000)
    step = Step.of("Move notes", score, edits.move(score, range(0, 100_000, 10_000), 240, 1))
    assert len(step.data) < 4000
    assert step.label == "Move notes"


def test_labels_come_back_whatever_they_hold() -> None:
    for label in ("", "Move notes", "Größer ♯♭", "a\0b", "\udcff"):
        assert label_of(pack(Delta(), label)) == label
    with pytest.raises(UserError, match="can't be kept"):
        Step.of("x" * 10_000, Score(), Score())


@given(st.data())
@example(None)
def test_a_damaged_delta_is_refused_whatever_was_damaged(data: st.DataObject | None) -> None:
    score = ordinary(6)
    whole = pack(between(Score(), score), "Label")
    if data is None:
        cut = b""
    elif data.draw(st.booleans()):
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        cut = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with pytest.raises(DamagedError):
        unpack(cut)
    with pytest.raises(DamagedError):
        label_of(cut)


@given(st.integers(12, 10**6), st.binary(min_size=1, max_size=6))
def test_a_forged_delta_is_a_delta_or_refused(at: int, forged: bytes) -> None:
    """With a checksum that fits, every other byte may be a lie: no other error, no huge allocation."""
    body = pack(between(Score(), ordinary(6)), "Label")[8:]
    at %= len(body)
    body = body[:at] + forged + body[at + len(forged) :]
    data = b"RCR1" + struct.pack("<I", zlib.crc32(body)) + body
    try:
        delta = unpack(data)
    except DamagedError:
        return
    assert isinstance(delta, Delta)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b"{}",
        b"null",
        b"1" * 5000,
        b'{"tracks":[],"order":null,"frame":null,',
        b'{"tracks":[{"id":0,"settings":[null,null],"notes":[268435456,0],"controls":null}],'
        b'"order":null,"frame":null}',
        b'{"tracks":[{"id":0,"settings":[null,null],"notes":[1e99,0],"controls":null}],'
        b'"order":null,"frame":null}',
        b'{"tracks":[{"id":true,"settings":[null,null],"notes":[0,0],"controls":null}],'
        b'"order":null,"frame":null}',
        b'{"tracks":[],"order":[[99999999999999999999],[]],"frame":null}',
    ],
)
def test_forged_text_is_refused(text: bytes) -> None:
    body = struct.pack("<II", 0, len(text)) + text
    with pytest.raises(DamagedError):
        unpack(b"RCR1" + struct.pack("<I", zlib.crc32(body)) + body)


def test_a_step_that_can_not_be_undone_says_so_and_leaves_the_music() -> None:
    score = ordinary(20)
    strange = Step.of("Strange", edits.delete(score, [1]), edits.delete(score, [1, 2]))
    document = Document(score, steps=[strange], position=1)
    with pytest.raises(UserError, match="damaged"):
        document.undo()
    assert document.score is score


def test_what_the_reader_would_refuse_is_never_written() -> None:
    document = Document(ordinary(20))
    before = document.score
    with pytest.raises(UserError, match="“Channel” can't be kept"):
        document.commit("Channel", edits.set_track(before, 0, channel=16))
    assert document.score is before
    assert document.undo_label is None
