"""Values (scores, cards), representations, strategies and systems: no Qt, no MIDI ports, no threads."""
