"""Files: new, open, save as, export, recent, dropping files in and dragging music out."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QMimeData, QObject, QSettings, Qt, QUrl, Signal
from PySide6.QtGui import QDrag
from PySide6.QtWidgets import QFileDialog, QWidget

from app.errands import Errands
from app.session import Session
from engine import edits, exchange, project
from engine.document import Document
from engine.project import Project
from models.score import Controls, Score, Track, UserError
from models.timebase import MeterMap, TempoMap

MOST_RECENT = 8
DEMO = "wenn_ich_einmal_soll_scheiden.musicxml"
OPEN_FILTER = (
    "Music ("
    + " ".join(f"*{s}" for s in exchange.READERS)
    + ");;Ricercar projects (*.ricercar);;MIDI files (*.mid *.midi);;"
    + "MusicXML (*.musicxml *.mxl *.xml);;All files (*)"
)
EXPORTS: tuple[tuple[str, str], ...] = (
    ("MIDI file", ".mid"),
    ("MusicXML", ".musicxml"),
    ("ABC", ".abc"),
    ("Sound (WAV)", ".wav"),
    ("Ricercar project", ".ricercar"),
)


def blank() -> Score:
    """What *New* opens: one empty track, 4/4, 120 bpm."""
    return Score(tracks=(Track(0, "Melody"),))


def demo() -> Score:
    """The demonstration chorale; an empty piece when it is missing or damaged."""
    with resources.as_file(resources.files("assets") / "scores" / DEMO) as path:
        try:
            return exchange.read(path)
        except UserError:
            return blank()


def excerpt(score: Score, ids: npt.NDArray[np.int64]) -> Score:
    """The notes of these ids alone, moved to begin in the first bar, at the tempo and metre they stand in."""
    chosen = edits.select(score, ids)
    if not len(chosen):
        return score
    first = int(chosen.onset.min())
    start = first - score.meter.position(first).offset
    numerator, denominator = score.meter.at(first)
    tracks = []
    for track in score.tracks:
        notes = track.notes.where(track.notes.having(ids))
        if len(notes):
            moved = notes.with_(onset=notes.onset - start)
            tracks.append(replace(track, notes=moved, controls=Controls()))
    return replace(
        score,
        tracks=tuple(tracks),
        tempo=TempoMap.constant(score.tempo.bpm(first)),
        meter=MeterMap(np.zeros(1, np.int64), np.array([numerator]), np.array([denominator])),
        keys=tuple(k._replace(tick=0) for k in (score.key_at(first),) if k is not None),
        fermatas=tuple(t - start for t in score.fermatas if first <= t < int(chosen.end.max())),
    )


class Files(QObject):
    """Opens and writes the session's document. `opened` follows every change of document or name;
    `leaving` comes before the document in hand is let go."""

    opened = Signal()
    leaving = Signal()

    def __init__(
        self, session: Session, errands: Errands, settings: QSettings, window: QWidget
    ) -> None:
        super().__init__(window)
        self._session, self._errands, self._settings = session, errands, settings
        self._window = window
        self._name = ""
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    # --- names -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What to call the document in the title bar."""
        kept = project.project_of(self._session.document)
        if kept is not None and not kept.untitled:
            return kept.path.stem
        return self._name or self._session.document.score.title or "Untitled"

    @property
    def named(self) -> bool:
        """Whether the user has given the document a file of its own."""
        kept = project.project_of(self._session.document)
        return kept is not None and not kept.untitled

    @property
    def recent(self) -> list[Path]:
        """The files opened or saved last, the latest first, those that are still there."""
        stored = self._settings.value("recent", [])
        names = stored if isinstance(stored, list) else [stored]  # an INI file keeps one as a text
        return [p for p in map(Path, filter(None, names)) if p.exists()]

    def _remember(self, path: Path) -> None:
        paths = [path.resolve(), *(p for p in self.recent if p != path.resolve())]
        self._settings.setValue("recent", [str(p) for p in paths[:MOST_RECENT]])
        self._settings.setValue("folder", str(path.resolve().parent))

    def _here(self) -> str:
        return str(self._settings.value("folder", str(Path.home())))

    # --- opening -----------------------------------------------------------------------------------

    def new(self) -> None:
        """An empty document; the one in hand is kept where it is."""
        self.adopt(blank(), "")

    def open(self) -> None:
        """Ask for a file and open it."""
        name, _ = QFileDialog.getOpenFileName(self._window, "Open music", self._here(), OPEN_FILTER)
        if name:
            self.open_path(Path(name))

    def open_path(self, path: Path) -> None:
        """Open a file of any readable kind. What is open stays as it is until that has worked."""
        if path.suffix.lower() == project.SUFFIX:
            try:
                self._replace(Project.open(path), "")
            except UserError as error:
                self._session.message.emit(str(error))
            else:
                if self.named:
                    self._remember(path)
            return

        def done(score: Score) -> None:
            self.adopt(score, path.stem)
            self._remember(path)

        self._errands.run(f"Opening {path.name}", lambda: exchange.read(path), done)

    def adopt(self, score: Score, name: str) -> None:
        """Make `score` a new untitled project; kept in memory alone, and said so, if that can't be written."""
        try:
            document = Project.create_untitled(score)
        except UserError as error:
            document = Document(score)
            self._session.message.emit(f"Nothing you do now is kept until you save it: {error}")
        self._replace(document, name)

    def _replace(self, document: Document, name: str) -> None:
        old = self._session.document
        self.leaving.emit()
        self._name = name
        self._session.replace_document(document)
        project.close(old)
        self.opened.emit()

    # --- writing -----------------------------------------------------------------------------------

    def save(self) -> None:
        """Give the document a file; one that has a file is always saved."""
        if self.named:
            self._session.message.emit(f"Every change is already kept in {self.name}.ricercar.")
        else:
            self.save_as()

    def save_as(self) -> None:
        """Ask for a name and go on working there."""
        start = str(Path(self._here()) / f"{self.name}.ricercar")
        name, _ = QFileDialog.getSaveFileName(
            self._window, "Save as", start, "Ricercar project (*.ricercar)"
        )
        if name:
            self.save_path(Path(name))

    def save_path(self, path: Path) -> None:
        """Copy the document, with its history, to `path` and go on working there."""
        if path.suffix.lower() != project.SUFFIX:
            path = path.with_name(path.name + project.SUFFIX)
        try:
            project.save_as(self._session.document, path)
        except UserError as error:
            self._session.message.emit(str(error))
            return
        self._remember(path)
        self.opened.emit()

    def export(self) -> None:
        """Ask for a name; its suffix says the format."""
        filters = ";;".join(f"{kind} (*{suffix})" for kind, suffix in EXPORTS)
        start = str(Path(self._here()) / f"{self.name}.mid")
        name, chosen = QFileDialog.getSaveFileName(self._window, "Export", start, filters)
        if not name:
            return
        path = Path(name)
        if path.suffix.lower() not in exchange.WRITERS:
            suffix = next((s for k, s in EXPORTS if chosen.startswith(k)), ".mid")
            path = path.with_name(path.name + suffix)
        self.export_path(path)

    def export_path(self, path: Path) -> None:
        """Write the score to `path`, off the GUI thread."""
        score = self._session.document.score
        self._errands.run(
            f"Writing {path.name}",
            lambda: exchange.write(score, path),
            lambda _: self._exported(path),
        )

    def _exported(self, path: Path) -> None:
        self._settings.setValue("folder", str(path.resolve().parent))
        self._session.message.emit(f"Wrote {path}.")

    # --- dragging out ------------------------------------------------------------------------------

    def drag_out(self, score: Score, name: str, source: QWidget) -> None:
        """Begin a drag of `score` as a MIDI file, for a DAW or a folder to take."""
        try:
            path = self.midi_for_drag(score, name)
        except UserError as error:
            self._session.message.emit(str(error))
            return
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        drag = QDrag(source)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)

    def midi_for_drag(self, score: Score, name: str) -> Path:
        """A MIDI file of `score` that lasts as long as the window. UserError when it can't be written."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ricercar-")
        plain = "".join(c if c.isalnum() or c in " -_" else "_" for c in name).strip() or "music"
        path = Path(self._folder.name) / f"{plain[:60]}.mid"
        exchange.write(score, path)
        return path

    def close(self) -> None:
        """Let the document's file go and forget files made for dragging."""
        project.close(self._session.document)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
