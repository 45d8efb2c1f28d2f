"""Folk: ABC read, tunes as words and back, the rules by which they add up, and how they fill bars."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_melody import tune

from models.representations import abc_notation, folk, folk_books, folk_rules
from models.representations.abc_notation import Bar, Key, Meter, Note
from models.score import Notes, Score, Track, UserError
from models.strategies import folk_session
from models.timebase import PPQ

HEAD = "X:1\nT:A tune\nM:6/8\nL:1/8\nK:{}\n"


def notes(music: str, key: str = "C") -> list[tuple[int, Fraction]]:
    """(pitch, eighths) of the notes of some music."""
    (voice,) = abc_notation.parse(HEAD.format(key) + music, "a.abc").voices
    return [(e.pitch, 8 * e.length) for e in voice.elements if isinstance(e, Note)]


def bars(music: str) -> list[Bar]:
    (voice,) = abc_notation.parse(HEAD.format("C") + music, "a.abc").voices
    return [e for e in voice.elements if isinstance(e, Bar)]


@pytest.mark.parametrize(
    ("music", "key", "pitches"),
    [
        ("C D E c c' C,", "C", [60, 62, 64, 72, 84, 48]),
        ("F B f", "D", [66, 71, 78]),
        ("^F F | F", "C", [66, 66, 65]),  # an accidental holds to the barline
        ("^F f", "C", [66, 77]),  # and for its octave
        ("^F- | F F", "C", [66, 66, 65]),  # a tie takes it over, for one note
        ("=F _B, __E ^^c", "G", [65, 58, 62, 74]),
        ("e f g", "Emin", [76, 78, 79]),
        ("c", "Ador", [72]),
        ("f c", "A Mixolydian", [78, 73]),
        ("F", "Dmix=f", [65]),
        ("c f g", "Hp", [73, 78, 79]),
        ('"Am"A {gf}B !trill!c ~d .e (AB) Tc vd', "C", [69, 71, 72, 74, 76, 69, 71, 72, 74]),
        ("[CEG]2 [K:D] F [M:3/4] C", "C", [67, 66, 61]),
    ],
)
def test_pitches(music: str, key: str, pitches: list[int]) -> None:
    assert [p for p, _ in notes(music, key)] == pitches


@pytest.mark.parametrize(
    ("music", "eighths"),
    [
        ("C C2 C/ C/2 C// C3/2 C/4", [1, 2, 0.5, 0.5, 0.25, 1.5, 0.25]),
        ("C>D C<D C>>D", [1.5, 0.5, 0.5, 1.5, 1.75, 0.25]),
        ("z2 z/ C", [2, 0.5, 1]),
        ("(2CD E", [1.5, 1.5, 1]),
        ("(3:2:2C2D E", [Fraction(4, 3), Fraction(2, 3), 1]),
        ("Z2 C", [6, 6, 1]),
        ("[C2E2] [CE]2 [C2E2]2", [2, 2, 4]),
        ("C > D \\\nE", [1.5, 0.5, 1]),
    ],
)
def test_durations(music: str, eighths: list[float]) -> None:
    assert [float(d) for _, d in notes(music)] == pytest.approx([float(e) for e in eighths])


def test_barlines_repeats_and_endings() -> None:
    found = bars("|: C | D |1 E :|2 F || G :: A |] [| B |[1 C :|[2 D ||")
    assert [b.closes for b in found] == [False] * 3 + [True, False, True] + [False] * 3 + [
        True,
        False,
    ]
    assert [b.opens for b in found] == [True] + [False] * 4 + [True] + [False] * 5
    assert [b.ending for b in found] == [(), (), (1,), (2,), (), (), (), (), (1,), (2,), ()]


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("|: C :| D |", "CCD"),
        ("C :| D |", "CCD"),
        ("C || D :| E |", "CDDE"),  # back to the double bar
        ("|: C || D :|", "CDCD"),  # unless a repeat is open
        ("|: C |1 D :|2 E || F |", "CDCEF"),
        ("|: C |1,3 D :|2 E :| F |", "CDCECDF"),
        ("|: C :: D :|", "CCDD"),
        ("|: C |1 D :|2 E |: F :|", "CDCEFF"),
    ],
)  # fmt: skip
def test_the_order_in_which_a_tune_sounds(music: str, order: str) -> None:
    (voice,) = abc_notation.parse(HEAD.format("C") + music, "a.abc").voices
    heard = [e.pitch for e in abc_notation.played(voice.elements) if isinstance(e, Note)]
    assert heard == [{"C": 60, "D": 62, "E": 64, "F": 65}[c] for c in order]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("X:1\nCDE\n", "line 2, is music before any key"),
        ("X:1\nT:no key\n", "line 1: the tune has no key"),
        (HEAD.format("C") + "CDE |\nCD? # EF", "line 7, has '#'"),
        (HEAD.format("X"), "line 5, has the key 'X'"),
        ("X:1\nM:6/7\nK:C\n", "line 2, has the metre '6/7'"),
        ("X:1\nL:0\nK:C\n", "line 2, has the unit '0'"),
        (HEAD.format("C") + "C0", "line 6, has a note of no length"),
        (HEAD.format("C") + "c''''''''", "line 6, has a note beyond MIDI"),
        (HEAD.format("C") + "Z0", "line 6, has a rest of no bars"),
        (HEAD.format("C") + "[2 C []", "line 6, has"),
    ],
)
def test_what_is_no_abc_is_refused_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"a\.abc, {sentence}") as refusal:
        abc_notation.parse(text, "a.abc")
    assert "\n" not in str(refusal.value)


def test_a_tune_in_words_and_back() -> None:
    (voice,) = abc_notation.parse(
        HEAD.format("Ador") + "|:E|A>B c (3ABc|1 A3 A2:|2 A3- A3|]", "a.abc"
    ).voices
    tokens = folk.of_elements(voice.elements)
    assert folk.text(tokens) == (
        "M:6/8 K:Cdor |: =G | =c 3/2 =d /2 _e (3 =c =d _e |1 =c 3 =c 2 :| |2 =c 3 - =c 3 | </s>"
    )
    back = folk.read(tokens.tolist())
    assert (back.metre, back.mode, back.bar) == ("6/8", "dor", 3 * PPQ)
    mine, theirs = folk.rows(back.elements), folk.rows(voice.elements)
    assert (mine[:, 1] == theirs[:, 1]).all()
    assert set(mine[:, 0] - theirs[:, 0]) == {3}


@pytest.mark.parametrize(
    ("music", "why"),
    [
        ("CDE [M:3/4] CDE", "change"),
        ("CDE [K:D] CDE", "change"),
        ("(5CDEFG", "tuplet"),
        ("C5", "duration"),
        ("C,,, c''", "range"),
        ("z6", "silence"),
    ],
)
def test_what_has_no_words_is_not_forced_into_them(music: str, why: str) -> None:
    (voice,) = abc_notation.parse(HEAD.format("C") + music, "a.abc").voices
    with pytest.raises(folk.Unwritable, match=why):
        folk.of_elements(voice.elements)


def test_words_in_places_where_they_mean_nothing_are_passed_over() -> None:
    words = ["2", "-", "M:6/8", "K:Cmaj", ":|", "2", "=C", "2", "3", "(3", "|", "-", "|2", "=E"]
    rows = folk.rows(folk.read(folk.numbers(words)).elements)
    assert rows.tolist() == [[60, 3 * folk.EIGHTH], [64, folk.EIGHTH]]


def test_music_of_notes_is_written_as_a_tune_would_be() -> None:
    onset = np.array([0, 160, 320, 480, 953, 1920])
    duration = np.array([160, 160, 160, 470, 960, 1300])
    words = folk.of_line(onset, duration, np.array([60, 62, 64, 65, 67, 68]), [0, 1920, 3840], True)
    assert " ".join(words) == "(3 =C /2 =D /2 =E /2 =F =G 2 | _A 2 - _A 3/4 z z /4 |"
    rows = folk.rows(folk.read(folk.numbers(words)).elements)
    assert rows[:, 1].sum() == 3840
    assert rows[:6, 0].tolist() == [60, 62, 64, 65, 67, 68]


def test_a_tune_from_elsewhere_has_words_too() -> None:
    pitches = [72, 74, 76, 77, 79, 76, 72, 72] * 4
    (tokens,) = folk_books.of_tune(tune("mine/0", pitches))
    assert folk.text(tokens).startswith("M:4/4 K:Cmaj ")
    assert folk.adding_up(folk.read(tokens)) == (8, 8)


def test_a_book_leaves_out_what_it_cannot_read(tmp_path: Path) -> None:
    good = "X:{}\nM:4/4\nL:1/4\nK:G\n|:GABc|dBGG|GABc|dBGG:|\n\n"
    text = good.format(1) + "X:2\nK:G\nG # A\n\n" + "X:3\nM:5/4\nK:G\nGABGA|\n\n" + good.format(4)
    assert list(folk_books.tunebook(text, "book")) == ["book/0", "book/3"]
    path = tmp_path / "book.abc"
    path.write_text(text)
    assert len(folk_books.of_file(path, Score())) == 2
    line = Notes.of(np.arange(16) * PPQ, PPQ, [60, 62, 64, 65] * 4)
    assert len(folk_books.of_file(tmp_path / "a.mid", Score((Track(0, "a", line),)))) == 1


@pytest.mark.parametrize(
    ("words", "right", "total"),
    [
        ("=C 8 | =C 8 |", 2, 2),
        ("=C 2 | =C 8 | =C 6 |", 2, 2),  # a pickup, and the last bar without it
        ("=C 2 | =C 8 | =C 7 |", 1, 2),
        ("|: =C 2 | =C 8 | =C 6 :| |: =C 2 | =C 8 | =C 6 :|", 4, 4),
        ("=C 8 | =C 4 | =C 8 |", 2, 3),
        ("=C 8 | =C 4 :| |: =C 4 | =C 8 |", 3, 3),
    ],
)
def test_bars_that_add_up_are_counted_as_a_musician_would(
    words: str, right: int, total: int
) -> None:
    spelled = words.replace("7", "4 - =C 3")
    found = folk.read(folk.numbers(["M:4/4", "K:Cmaj", *spelled.split()]))
    assert folk.adding_up(found) == (right, total)


@pytest.mark.parametrize("metre", folk.METRES)
@pytest.mark.parametrize("form", ["AABB", "square", "any"])
def test_whatever_the_rules_allow_adds_up(metre: str, form: str) -> None:
    numerator, denominator = folk.METRES[metre]
    bar = numerator * 4 * PPQ // denominator
    rng = np.random.default_rng(5)
    weight = np.ones(len(folk.WORDS))
    for word in ("|", "|:", ":|", "|1", "|2", "</s>", "(3", "2", "3", "/2", "-"):
        weight[folk.NUMBER[word]] = 10
    ended = 0
    for _ in range(8):
        rules = folk_rules.Rules(bar, form)
        tokens = folk.numbers([f"M:{metre}", "K:Cmaj"]).tolist()
        while len(tokens) < 900 and tokens[-1] != folk.END:
            mask = rules.allowed()
            assert mask.any(), folk.text(tokens)
            odds = mask * weight
            tokens.append(int(rng.choice(len(odds), p=odds / odds.sum())))
            rules.push(tokens[-1])
        if tokens[-1] == folk.END:
            ended += 1
            made = folk.read(tokens)
            right, total = folk.adding_up(made)
            assert right == total > 0, folk.text(tokens)
            if form == "square":
                assert all(n % 4 == 0 for n, _ in folk.form(made)), folk.text(tokens)
            assert form != "AABB" or folk.is_aabb(made), folk.text(tokens)
    assert ended > 2


def test_music_that_goes_on_has_no_signs_of_repeat_and_keeps_its_bars() -> None:
    rules = folk_rules.Rules(4 * PPQ, "square", place=3 * PPQ, onward=True)
    mask = rules.allowed()
    assert not any(mask[folk.NUMBER[w]] for w in ("|:", ":|", "|1", "</s>", "|"))
    rules.push(folk.NUMBER["=C"])
    mask = rules.allowed()
    assert mask[folk.NUMBER["2"]]
    assert not mask[folk.NUMBER["3"]]
    rules.push(folk.NUMBER["2"])
    assert [folk.WORDS[i] for i in np.flatnonzero(rules.allowed())] == ["|", "-"]


def session(words: str) -> list[folk_session.Section]:
    return folk_session.sections(folk.read(folk.numbers(["M:4/4", "K:Cmaj", *words.split()])))


TUNE = "|: " + "=C 8 | " * 7 + "=D 8 :| |: " + "=E 8 | " * 7 + "=F 8 :| </s>"


@pytest.mark.parametrize(
    ("bars", "heard"),
    [
        (4, [(60, 3), (62, 1)]),  # the end of the first part
        (8, [(60, 7), (62, 1)]),
        (16, [(60, 7), (62, 1), (64, 7), (65, 1)]),
        (20, [(60, 7), (62, 1), (64, 7), (65, 1), (64, 3), (65, 1)]),  # its end once more
        (24, [(60, 7), (62, 1), (60, 7), (62, 1), (64, 7), (65, 1)]),
        (32, [*[(60, 7), (62, 1)] * 2, *[(64, 7), (65, 1)] * 2]),
        (64, [*[(60, 7), (62, 1)] * 2, *[(64, 7), (65, 1)] * 2] * 2),
    ],
)  # fmt: skip
def test_a_tune_fills_the_bars_there_are(bars: int, heard: list[tuple[int, int]]) -> None:
    rows = folk_session.arranged([session(TUNE)], bars, 4 * PPQ)
    assert rows[:, 1].sum() == bars * 4 * PPQ
    assert rows[:, 0].tolist() == [pitch for pitch, n in heard for _ in range(n)]


def test_the_next_tune_follows_when_one_was_played_twice() -> None:
    other = "|: " + "=G 8 | " * 7 + "=A 8 :| </s>"
    rows = folk_session.arranged([session(TUNE), session(other)], 64 + 16, 4 * PPQ)
    assert rows[64:, 0].tolist() == [*[67] * 7, 69] * 2


def test_pickups_stand_before_the_barline_and_the_first_is_left_out() -> None:
    words = "|: =G 2 | " + "=C 8 | " * 7 + "=D 6 :| |: =A 2 | " + "=E 8 | " * 7 + "=F 6 :| </s>"
    rows = folk_session.arranged([session(words)], 32, 4 * PPQ)
    onset = np.cumsum(rows[:, 1]) - rows[:, 1]
    strong = np.isin(rows[:, 0], (60, 62, 64, 65))
    assert (onset[strong] % (4 * PPQ) == 0).all()
    assert rows[0, 0] == 60
    assert rows[8, 0] == 67


def test_keys_and_metres_of_a_sheet() -> None:
    sheet = abc_notation.parse("X:1\nT:One\nT:Two\nM:C|\nQ:1/4=90\nK:F#m\nF", "a.abc")
    assert sheet.title == "One"
    meter, key, tempo, _ = sheet.voices[0].elements
    assert meter == Meter(2, 2)
    assert isinstance(key, Key)
    assert (key.tonic, key.mode, key.sharps) == (6, "min", 3)
    assert tempo == abc_notation.Tempo(90.0)
