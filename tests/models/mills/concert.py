"""Whole tunes, note by note, as CONCERT hears them."""

from mills.note_step import ONE_AT_A_TIME, RANGE, asked, corpus

__all__ = ["ONE_AT_A_TIME", "RANGE", "asked", "corpus"]
