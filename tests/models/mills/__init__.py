"""What the mill (tests/models/test_systems.py) feeds a system: one module for each representation, or one
named after a system that needs its own.

Each has `corpus(system)`, a tiny corpus of what the system learns from; `asked(card, task, count, seed)`, a
request with something locked and something across the region's edge; RANGE, the pitches that may be
written; and ONE_AT_A_TIME, whether the notes of a track may not overlap.
"""
