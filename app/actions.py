"""The actions: one table of name, shortcuts, tooltip and function; menus and shortcuts come from it.

What the keyboard does to selected notes is a table of its own, `pianoroll.commands.COMMANDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.card import Task

if TYPE_CHECKING:
    from app.window import Window


@dataclass(frozen=True)
class Action:
    """One thing the window can do. `shortcuts` in Qt's portable spelling; `tip` ends without a stop.

    `checked` makes it a switch: the function that says whether it is on.
    """

    name: str
    menu: str
    text: str
    shortcuts: tuple[str, ...]
    tip: str
    run: Callable[[Window], object]
    checked: Callable[[Window], bool] | None = None
    separate: bool = False
    """Whether a line goes before it in its menu."""


ACTIONS: tuple[Action, ...] = (
    # File
    Action("new", "File", "New", ("Ctrl+N",), "An empty piece", lambda w: w.files.new()),
    Action("open", "File", "Open…", ("Ctrl+O",), "Open music", lambda w: w.files.open()),
    Action(
        "demo",
        "File",
        "Open the demonstration",
        ("Ctrl+Shift+O",),
        "A chorale to try things on",
        lambda w: w.open_demo(),
    ),
    Action(
        "save",
        "File",
        "Save",
        ("Ctrl+S",),
        "Give the piece a file; from then on every change is kept in it at once",
        lambda w: w.files.save(),
        separate=True,
    ),
    Action(
        "save_as",
        "File",
        "Save as…",
        ("Ctrl+Shift+S",),
        "Go on in a file of another name",
        lambda w: w.files.save_as(),
    ),
    Action(
        "export",
        "File",
        "Export…",
        ("Ctrl+E",),
        "Write MIDI, MusicXML or sound",
        lambda w: w.files.export(),
    ),
    Action(
        "quit", "File", "Quit", ("Ctrl+Q",), "Close the window", lambda w: w.close(), separate=True
    ),
    # Edit
    Action("undo", "Edit", "Undo", ("Ctrl+Z",), "Take the last step back", lambda w: w.undo()),
    Action(
        "redo",
        "Edit",
        "Redo",
        ("Ctrl+Shift+Z", "Ctrl+Y"),
        "Do again what was taken back",
        lambda w: w.redo(),
    ),
    Action(
        "draw",
        "Edit",
        "Pencil",
        ("B",),
        "A press on an empty place draws a note, instead of a rubber band",
        lambda w: w.roll.set_drawing(not w.roll.canvas.drawing),
        checked=lambda w: w.roll.canvas.drawing,
        separate=True,
    ),
    Action(
        "add_track",
        "Edit",
        "Add a track",
        ("Ctrl+T",),
        "An empty track at the end",
        lambda w: w.tracks.add_track(),
        separate=True,
    ),
    Action(
        "remove_track",
        "Edit",
        "Remove the active track",
        ("Ctrl+Shift+T",),
        "Take the active track and its notes away",
        lambda w: w.remove_active_track(),
    ),
    Action(
        "meter",
        "Edit",
        "Metre…",
        ("Ctrl+M",),
        "Set the metre from the playhead's bar on",
        lambda w: w.ask_meter(),
        separate=True,
    ),
    Action(
        "key",
        "Edit",
        "Key…",
        ("Ctrl+K",),
        "Set the key from the playhead's bar on",
        lambda w: w.ask_key(),
    ),
    # Play
    Action("play", "Play", "Play or stop", ("Space",), "From the playhead", lambda w: w.toggle()),
    Action(
        "stop",
        "Play",
        "Stop and return",
        ("Shift+Space",),
        "Stop, and go back to where it began; then to the beginning",
        lambda w: w.player.stop(),
    ),
    Action(
        "rewind",
        "Play",
        "To the beginning",
        ("Home",),
        "Put the playhead at the beginning",
        lambda w: w.session.seek(0),
    ),
    Action(
        "loop",
        "Play",
        "Loop",
        ("L",),
        "Repeat the marked bars, or everything",
        lambda w: w.toggle_loop(),
        checked=lambda w: w.session.loop is not None,
    ),
    Action(
        "devices",
        "Play",
        "Devices…",
        ("Ctrl+,",),
        "Where every voice sounds, what is listened to, whose time is followed",
        lambda w: w.show_devices(),
        separate=True,
    ),
    Action(
        "midi_control",
        "Play",
        "MIDI control…",
        ("Ctrl+Shift+M",),
        "Teach knobs, pads and pedals what to move",
        lambda w: w.hands.show(w),
    ),
    Action(
        "stage",
        "Play",
        "On stage…",
        ("F8",),
        "Play with a system: it answers, harmonises, streams or varies the loop",
        lambda w: w.show_stage(),
    ),
    Action(
        "panic",
        "Play",
        "Silence everything",
        ("Ctrl+.",),
        "All notes off on every port",
        lambda w: w.performance.panic(),
    ),
    # Compose
    Action(
        "generate",
        "Compose",
        "Generate",
        ("Ctrl+G",),
        "Ask the chosen system for music",
        lambda w: w.compose.generate(),
    ),
    Action(
        "cancel",
        "Compose",
        "Stop generating",
        ("Esc",),
        "Let go of a drag, or stop generating, or stop hearing a proposal",
        lambda w: w.escape(),
    ),
    *(
        Action(
            f"task_{task}",
            "Compose",
            f"{task.capitalize()}",
            (f"Ctrl+{number}",),
            f"Choose the task {task}",
            lambda w, task=task: w.compose.choose_task(task),  # type: ignore[misc]
            separate=number == 1,
        )
        for number, task in (
            (1, Task.CREATE),
            (2, Task.CONTINUE),
            (3, Task.ACCOMPANY),
            (4, Task.REGENERATE),
            (5, Task.INTERPOLATE),
            (6, Task.RESHAPE),
        )
    ),
    Action(
        "mark_all",
        "Compose",
        "Mark all bars",
        ("Ctrl+Shift+A",),
        "The whole piece may change, in the ticked voices",
        lambda w: w.mark_all(),
        separate=True,
    ),
    Action(
        "unmark",
        "Compose",
        "Unmark the bars",
        ("Ctrl+Shift+U",),
        "Mark no bars",
        lambda w: w.session.set_span(None),
    ),
    Action(
        "place_phrase",
        "Compose",
        "Place the phrase on the map",
        ("Ctrl+Shift+P",),
        "Show where the selected notes, or the marked bars of a voice, lie on the latent map",
        lambda w: w.place_phrase(),
        separate=True,
    ),
    *(
        Action(
            f"set_{letter.lower()}",
            "Compose",
            f"Set {letter}",
            (f"Alt+{letter}",),
            f"Take the bars of the selected notes, or the marked bars, as {letter} of a path",
            lambda w, index=index: w.set_end(index),  # type: ignore[misc]
            separate=index == 0,
        )
        for index, letter in enumerate("AB")
    ),
    Action(
        "make_path",
        "Compose",
        "Make the path",
        ("Ctrl+P",),
        "Lead from A to B, step by step",
        lambda w: w.make_path(),
    ),
    Action(
        "hear",
        "Compose",
        "Hear the proposal",
        ("H",),
        "Hear the chosen proposal in its place, or what was there",
        lambda w: w.hear(),
        separate=True,
    ),
    Action(
        "keep",
        "Compose",
        "Keep the proposal",
        ("Ctrl+Return",),
        "Make it part of the piece",
        lambda w: w.keep(),
    ),
    Action(
        "drop",
        "Compose",
        "Drop the proposal",
        ("Ctrl+Backspace",),
        "Forget it",
        lambda w: w.drop(),
    ),
    Action(
        "next_candidate",
        "Compose",
        "Next proposal",
        ("Ctrl+]",),
        "Show the next candidate",
        lambda w: w.step_candidate(1),
    ),
    Action(
        "previous_candidate",
        "Compose",
        "Previous proposal",
        ("Ctrl+[",),
        "Show the candidate before",
        lambda w: w.step_candidate(-1),
    ),
    # View
    Action("zoom_in", "View", "Zoom in", ("Ctrl++", "Ctrl+="), "Wider", lambda w: w.roll.zoom(1)),
    Action("zoom_out", "View", "Zoom out", ("Ctrl+-",), "Narrower", lambda w: w.roll.zoom(-1)),
    Action(
        "taller",
        "View",
        "Taller rows",
        ("Ctrl+Shift++", "Ctrl+Shift+="),
        "Make the roll's rows higher",
        lambda w: w.roll.zoom_pitch(1),
    ),
    Action(
        "flatter",
        "View",
        "Lower rows",
        ("Ctrl+Shift+-",),
        "Make the roll's rows lower",
        lambda w: w.roll.zoom_pitch(-1),
    ),
    Action(
        "fit",
        "View",
        "Show the selection",
        ("F",),
        "Fit the selected notes, the marked bars, or everything",
        lambda w: w.roll.fit_selection(),
    ),
    Action(
        "fit_all",
        "View",
        "Show the whole piece",
        ("Shift+F",),
        "Fit everything",
        lambda w: w.roll.fit_all(),
    ),
    Action(
        "follow",
        "View",
        "Follow the playhead",
        ("Ctrl+F",),
        "Turn the page with the playhead",
        lambda w: w.roll.set_following(not w.roll.following),
        checked=lambda w: w.roll.following,
        separate=True,
    ),
    Action(
        "show_score",
        "View",
        "Score",
        ("F4",),
        "Show the music as notation",
        lambda w: w.toggle_dock("score"),
        checked=lambda w: w.dock_shown("score"),
    ),
    Action(
        "show_tracks",
        "View",
        "Voices",
        ("F2",),
        "Show the voices",
        lambda w: w.toggle_dock("tracks"),
        checked=lambda w: w.dock_shown("tracks"),
    ),
    Action(
        "show_compose",
        "View",
        "Compose",
        ("F3",),
        "Show systems and proposals",
        lambda w: w.toggle_compose(),
        checked=lambda w: w.dock_shown("compose"),
    ),
    Action(
        "show_shape",
        "View",
        "Shape",
        ("F5",),
        "Push a phrase by sliders, or drag it over the latent map",
        lambda w: w.toggle_dock("shape"),
        checked=lambda w: w.dock_shown("shape"),
    ),
    Action(
        "show_path",
        "View",
        "Path",
        ("F6",),
        "Lead from one phrase to another, and scrub through the steps",
        lambda w: w.toggle_dock("path"),
        checked=lambda w: w.dock_shown("path"),
    ),
    Action(
        "show_capture",
        "View",
        "Capture",
        ("F7",),
        "Keep what was just played on the MIDI keyboard; it is always recorded",
        lambda w: w.toggle_dock("capture"),
        checked=lambda w: w.dock_shown("capture"),
    ),
    Action(
        "full_screen",
        "View",
        "Full screen",
        ("F11",),
        "Use the whole screen",
        lambda w: w.toggle_full_screen(),
        checked=lambda w: w.isFullScreen(),
        separate=True,
    ),
    # Help
    Action(
        "keys",
        "Help",
        "Keys and mouse",
        ("F1",),
        "Everything the keyboard and the mouse do",
        lambda w: w.show_keys(),
    ),
    Action(
        "about",
        "Help",
        "About Ricercar",
        ("Shift+F1",),
        "What this is",
        lambda w: w.show_about(),
    ),
)
"""Every action, in the order of its menu. Their shortcuts are all different."""

MENUS = tuple(dict.fromkeys(a.menu for a in ACTIONS))
