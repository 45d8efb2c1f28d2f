"""The look of the program: one table of colours, one stylesheet, nothing drawn here.

The voice colours are Okabe and Ito's set ("Color Universal Design", 2008), lightened for a dark ground:
neighbours differ in lightness as well as hue, so they stay apart for every common colour blindness.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QStyleFactory

COLOURS: dict[str, str] = {
    # grounds, from the deepest to the most raised
    "field": "#0f1115",
    "window": "#15171c",
    "panel": "#1b1e24",
    "raised": "#262a33",
    "hover": "#313743",
    "line": "#343a46",
    # text
    "text": "#e8eaee",
    "text_dim": "#a4acba",
    "text_faint": "#7a8393",
    "ink": "#101216",
    # meaning
    "accent": "#8fa2ff",
    "accent_deep": "#4d5fc9",
    "danger": "#ff7a6b",
    "warning": "#f0c560",
    "good": "#62cf9d",
    # the roll
    "row_white": "#1d2027",
    "row_black": "#181a20",
    "row_tonic": "#21252e",
    "row_line": "#15171c",
    "octave_line": "#323845",
    "grid_bar": "#545d6e",
    "grid_beat": "#3a4150",
    "grid_sub": "#292e38",
    "outside": "#121419",
    "key_white": "#ccd0d8",
    "key_black": "#23262d",
    "key_line": "#8b919d",
    "playhead": "#ff6f61",
    "region": "#8fa2ff",
    "region_rim": "#d3daff",
    "loop": "#5fd3c8",
    "selected": "#ffffff",
}
"""Every colour but the voices', by what it is for."""

VOICES: tuple[str, ...] = (
    "#62bdf0",  # sky blue
    "#f2a93b",  # orange
    "#3ccf9f",  # bluish green
    "#dd8fbd",  # reddish purple
    "#f0e36a",  # yellow
    "#f59066",  # vermilion
    "#82abf7",  # blue
    "#b9c0cc",  # grey
)
"""Colours of the tracks, in order; the ninth track starts again."""

RAMP: tuple[str, ...] = (
    "#3b528b",
    "#2c728e",
    "#21918c",
    "#28ae80",
    "#5ec962",
    "#addc30",
    "#fde725",
)
"""From little to much: viridis (van der Walt & Smith 2015) without its darkest quarter, which a dark ground
would swallow. Its lightness rises evenly, so that it reads the same for every colour blindness."""


@cache
def colour(name: str) -> QColor:
    """The colour of that name in `COLOURS`; KeyError when there is none. Not to be changed in place."""
    return QColor(COLOURS[name])


@cache
def voice(index: int) -> QColor:
    """The colour of the index-th track. Not to be changed in place."""
    return QColor(VOICES[index % len(VOICES)])


@cache
def blend(a: str, b: str, share: float) -> QColor:
    """The opaque colour `share` (0–1) of the way from `a` to `b`, both "#rrggbb"."""
    first, second = QColor(a), QColor(b)
    return QColor(
        round(first.red() + (second.red() - first.red()) * share),
        round(first.green() + (second.green() - first.green()) * share),
        round(first.blue() + (second.blue() - first.blue()) * share),
    )


def ramp(share: float) -> QColor:
    """The colour `share` (0–1) of the way through RAMP."""
    at = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    low = min(int(at), len(RAMP) - 2)
    return blend(RAMP[low], RAMP[low + 1], round(at - low, 3))


def luminance(shade: QColor) -> float:
    """Relative luminance, 0–1, as WCAG 2.2 defines it."""

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.03928 else float(((value + 0.055) / 1.055) ** 2.4)

    red, green, blue = shade.redF(), shade.greenF(), shade.blueF()
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def contrast(a: QColor, b: QColor) -> float:
    """The contrast ratio of two colours, 1–21, as WCAG 2.2 defines it."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


STYLE = """
QWidget { color: @text; }
QMainWindow, QDialog { background: @window; }
QToolTip { background: @raised; color: @text; border: 1px solid @line; padding: 4px 6px; }
QMenuBar { background: @window; padding: 2px 4px; }
QMenuBar::item { padding: 4px 9px; border-radius: 4px; background: transparent; }
QMenuBar::item:selected, QMenuBar::item:pressed { background: @raised; }
QMenu { background: @panel; border: 1px solid @line; padding: 4px; }
QMenu::item { padding: 5px 24px 5px 22px; border-radius: 4px; }
QMenu::item:selected { background: @accent_deep; color: white; }
QMenu::item:disabled { color: @text_faint; }
QMenu::separator { height: 1px; background: @line; margin: 4px 6px; }
QToolBar { background: @window; border: none; spacing: 4px; padding: 3px 6px; }
QStatusBar { background: @window; color: @text_dim; }
QStatusBar::item { border: none; }
QDockWidget { color: @text_dim; titlebar-close-icon: none; }
QDockWidget::title { background: @window; padding: 6px 8px; }
QMainWindow::separator { background: @window; width: 5px; height: 5px; }
QMainWindow::separator:hover { background: @accent_deep; }
QSplitter::handle { background: @window; }
QSplitter::handle:hover { background: @accent_deep; }
QPushButton, QToolButton {
    background: @raised; border: 1px solid @line; border-radius: 5px; padding: 4px 10px; }
QToolButton { padding: 3px 7px; }
QPushButton:hover, QToolButton:hover { background: @hover; }
QPushButton:pressed, QToolButton:pressed { background: @line; }
QPushButton:checked, QToolButton:checked {
    background: @accent_deep; border-color: @accent; color: white; }
QPushButton:disabled, QToolButton:disabled { color: @text_faint; background: @panel; }
QPushButton:focus, QToolButton:focus { border-color: @accent; }
QPushButton[primary="true"] {
    background: @accent; border-color: @accent; color: @ink; font-weight: 600; padding: 6px 14px; }
QPushButton[primary="true"]:hover { background: #a9b8ff; }
QPushButton[primary="true"]:pressed { background: #7488ee; }
QPushButton[primary="true"]:disabled {
    background: @raised; border-color: @line; color: @text_faint; }
QPushButton[danger="true"] { color: @danger; }
QPushButton[tight="true"] { padding: 4px 3px; }
QPushButton[chip="true"] { border-radius: 9px; padding: 1px 8px; color: @text; }
QFrame#filters { background: @panel; border: 1px solid @line; }
QFrame#filters QCheckBox:disabled { color: @text_faint; }
QLabel[dim="true"] { color: @text_dim; }
QLabel[title="true"] { color: @text; font-weight: 600; }
QLineEdit, QAbstractSpinBox, QComboBox, QPlainTextEdit, QTextEdit {
    background: @field; border: 1px solid @line; border-radius: 4px; padding: 3px 6px;
    selection-background-color: @accent_deep; selection-color: white; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus { border-color: @accent; }
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled {
    color: @text_faint; background: @panel; }
QAbstractSpinBox QLineEdit { border: none; padding: 0; background: transparent; }
QAbstractSpinBox { padding: 3px 0px; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { width: 0; height: 0; border: none; }
QComboBox::drop-down { border: none; width: 18px; }
QComboBox::down-arrow { image: url("%chevron"); width: 12px; height: 12px; }
QCheckBox::indicator, QListView::indicator { width: 13px; height: 13px; border: 1px solid @text_faint; border-radius: 4px;
    background: @field; }
QCheckBox::indicator:hover, QCheckBox::indicator:focus { border-color: @text; }
QCheckBox::indicator:checked, QListView::indicator:checked { background: @accent; border-color: @accent; image: url("%check"); }
QComboBox QAbstractItemView {
    background: @panel; border: 1px solid @line; selection-background-color: @accent_deep; }
QListView, QTreeView, QTableView, QScrollArea { background: @panel; border: none; outline: none; }
QListView::item, QTreeView::item { padding: 4px 6px; border-radius: 4px; }
QListView::item:hover, QTreeView::item:hover { background: @raised; }
QListView::item:selected, QTreeView::item:selected { background: @accent_deep; color: white; }
QHeaderView::section { background: @window; color: @text_dim; border: none; padding: 4px 6px; }
QGroupBox { border: none; margin-top: 18px; font-weight: 600; }
QGroupBox::title { subcontrol-origin: margin; left: 0px; color: @text_dim; }
QTabBar::tab { background: transparent; color: @text_dim; padding: 6px 12px; border: none;
    border-bottom: 2px solid transparent; }
QTabBar::tab:selected { color: @text; border-bottom-color: @accent; }
QTabBar::tab:hover { color: @text; }
QTabWidget::pane { border: none; }
QProgressBar { background: @field; border: none; border-radius: 3px; max-height: 6px;
    color: transparent; }
QProgressBar::chunk { background: @accent; border-radius: 3px; }
QSlider::groove:horizontal { height: 4px; background: @line; border-radius: 2px; }
QSlider::sub-page:horizontal { background: @accent; border-radius: 2px; }
QSlider::handle:horizontal { width: 14px; height: 14px; margin: -5px 0; border-radius: 7px;
    background: @text; }
QSlider::handle:horizontal:hover { background: white; }
QScrollBar:horizontal { background: @window; height: 12px; margin: 0; }
QScrollBar:vertical { background: @window; width: 12px; margin: 0; }
QScrollBar::handle { background: #474f5d; border-radius: 4px; margin: 2px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:hover { background: @text_faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
"""


def stylesheet() -> str:
    """The application's stylesheet, its @names replaced from `COLOURS`."""
    text = STYLE
    for name in sorted(COLOURS, key=len, reverse=True):  # "text_dim" before "text"
        text = text.replace("@" + name, COLOURS[name])
    for image in ("chevron", "check"):
        path = resources.files("assets") / "icons" / f"{image}.svg"
        text = text.replace(f"%{image}", str(path).replace("\\", "/"))
    return text


def palette() -> QPalette:
    """The same colours for what Qt draws without the stylesheet."""
    roles = {
        QPalette.ColorRole.Window: "window",
        QPalette.ColorRole.WindowText: "text",
        QPalette.ColorRole.Base: "field",
        QPalette.ColorRole.AlternateBase: "panel",
        QPalette.ColorRole.Text: "text",
        QPalette.ColorRole.PlaceholderText: "text_faint",
        QPalette.ColorRole.Button: "raised",
        QPalette.ColorRole.ButtonText: "text",
        QPalette.ColorRole.BrightText: "selected",
        QPalette.ColorRole.ToolTipBase: "raised",
        QPalette.ColorRole.ToolTipText: "text",
        QPalette.ColorRole.Highlight: "accent_deep",
        QPalette.ColorRole.HighlightedText: "selected",
        QPalette.ColorRole.Link: "accent",
        QPalette.ColorRole.Light: "hover",
        QPalette.ColorRole.Mid: "line",
        QPalette.ColorRole.Dark: "field",
        QPalette.ColorRole.Shadow: "field",
    }
    out = QPalette()
    for role, name in roles.items():
        out.setColor(role, colour(name))
    for role in (
        QPalette.ColorRole.Text,
        QPalette.ColorRole.WindowText,
        QPalette.ColorRole.ButtonText,
    ):
        out.setColor(QPalette.ColorGroup.Disabled, role, colour("text_faint"))
    return out


def apply(application: QApplication) -> None:
    """Dress the application: Fusion, our palette, our stylesheet."""
    application.setStyle(QStyleFactory.create("Fusion"))
    application.setPalette(palette())
    application.setStyleSheet(stylesheet())
