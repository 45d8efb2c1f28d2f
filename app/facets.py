"""Finding systems by the survey's five dimensions and by what they can be asked for: what the cards say, in
families few enough to choose from. Pure functions over cards; the browser draws them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from models.card import Card, Task

Family = tuple[str, str, str]
"""A name, a pattern of the words on cards that belong to it, and what it means to a musician."""

TASKS: tuple[tuple[Task, str], ...] = (
    (Task.CREATE, "Writes music from nothing"),
    (Task.CONTINUE, "Goes on where music ends"),
    (Task.ACCOMPANY, "Writes other voices to a melody"),
    (Task.REGENERATE, "Writes marked bars anew"),
    (Task.INTERPOLATE, "Leads from one phrase to another"),
    (Task.RESHAPE, "Pushes a phrase towards denser, higher, calmer …"),
)

OBJECTIVES: tuple[Family, ...] = (
    ("melody", r"melod", "One line"),
    ("chords", r"chord|harmon", "Harmonies: which, and when they change"),
    ("counterpoint", r"counterpoint|accompan", "Voices that go with a given one"),
    ("polyphony", r"polyphon|multi", "Several notes or voices at a time"),
    ("performance", r"perform|express", "Timing and loudness as they are played"),
)

REPRESENTATIONS: tuple[Family, ...] = (
    ("line on a grid", r"^(melody|time_slice)$", "One note or rest at every step of a grid"),
    ("voices on a grid", r"^(chorale|blues)$", "A token for each part at every step of a grid"),
    ("piano roll", r"^pianoroll$", "Which of the 88 keys sound at every step of a grid"),
    ("note by note", r"^(note_step|concert)$", "Pitch and duration of one note after another"),
    ("text", r"^folk$", "The letters of a notation for tunes"),
    ("events", r"^performance$", "Keys going down and up, and the time between"),
    ("bar by bar", r"^chords$", "What sounds in a bar, taken together"),
)

ARCHITECTURES: tuple[Family, ...] = (
    ("table", r"table|markov", "Counts of what followed what"),
    ("feedforward", r"feedforward|perceptron", "One pass from input to output, without memory"),
    ("recurrent", r"\brnn|recurrent|rtrbm", "A net that hears its own past"),
    ("LSTM", r"lstm", "A recurrent net that remembers over long stretches"),
    ("autoencoder", r"(?<!variational )autoencoder", "Squeezes music into a few numbers and back"),
    ("variational", r"variational", "An autoencoder whose numbers can be drawn and mixed"),
    ("RBM", r"rbm|rbn|boltzmann|dbn", "Learns which notes sound together; completes what is given"),
)

STRATEGIES: tuple[Family, ...] = (
    ("single step", r"single-step", "All notes at once, the same every time"),
    ("iterative", r"iterative", "Step by step, each hearing the ones before"),
    ("decoding", r"decod", "From a few numbers to a phrase"),
    ("sampling", r"sampl|gibbs|temperature", "Draws notes by chance, the likely ones more often"),
    ("conditioning", r"condition", "Something given steers every step"),
    ("input manipulation", r"input manip|gradient", "Changes its input until the output fits"),
)

CHALLENGES: Mapping[str, str] = {
    "control": "You decide what must hold",
    "expressiveness": "Played, not only written",
    "ex nihilo": "From nothing",
    "incrementality": "Note by note, or part by part, in any order",
    "interactivity": "Answers while you work",
    "length variability": "As long as you like",
    "melody-harmony consistency": "Tune and chords fit one another",
    "originality": "Not copied from what it heard",
    "structure": "A form beyond the next few notes",
    "transposability": "The same in every key",
    "variability": "Another result every time",
}

DIMENSIONS: Mapping[str, str] = {
    "task": "What it can be asked for",
    "objective": "What it makes",
    "representation": "How it reads and writes music",
    "architecture": "What kind of model it is",
    "challenge": "What it tries to solve",
    "strategy": "How it makes notes from the model",
}
"""The survey's five, after what one can ask for; and what each is about."""


@dataclass(frozen=True, order=True)
class Facet:
    """One value of one dimension."""

    dimension: str
    value: str


def _families(text: str, families: Sequence[Family]) -> tuple[str, ...]:
    """The families a text belongs to; with none, its own words up to the first detail."""
    found = tuple(name for name, pattern, _ in families if re.search(pattern, text.casefold()))
    return found or (re.split(r"[:,(]", text)[0].strip().replace("_", " "),)


@cache
def facets(card: Card) -> frozenset[Facet]:
    """All that a card can be found by."""
    values: dict[str, Iterable[str]] = {
        "task": map(str, card.tasks),
        "objective": _families(card.objective.type, OBJECTIVES),
        "representation": _families(card.representation.name, REPRESENTATIONS),
        "architecture": _families(card.architecture, ARCHITECTURES),
        "challenge": card.challenges,
        "strategy": [f for s in card.strategy for f in _families(s, STRATEGIES)],
    }
    return frozenset(Facet(name, value) for name, found in values.items() for value in found)


def about(facet: Facet) -> str:
    """What a value means, as a tooltip; of one that no table here knows, what its dimension is about."""
    table: dict[str, str] = {
        "task": {str(task): tip for task, tip in TASKS},
        "objective": {name: tip for name, _, tip in OBJECTIVES},
        "representation": {name: tip for name, _, tip in REPRESENTATIONS},
        "architecture": {name: tip for name, _, tip in ARCHITECTURES},
        "challenge": dict(CHALLENGES),
        "strategy": {name: tip for name, _, tip in STRATEGIES},
    }[facet.dimension]
    return table.get(facet.value, DIMENSIONS[facet.dimension])


def offered(cards: Iterable[Card]) -> dict[str, tuple[Facet, ...]]:
    """Dimension → the values some card has, in the tables' order, then by name."""
    tables = {
        "task": [str(task) for task, _ in TASKS],
        "objective": [name for name, _, _ in OBJECTIVES],
        "representation": [name for name, _, _ in REPRESENTATIONS],
        "architecture": [name for name, _, _ in ARCHITECTURES],
        "challenge": sorted(CHALLENGES),
        "strategy": [name for name, _, _ in STRATEGIES],
    }
    every = {facet for card in cards for facet in facets(card)}

    def place(facet: Facet) -> tuple[int, str]:
        known = tables[facet.dimension]
        return (known.index(facet.value) if facet.value in known else len(known)), facet.value

    return {
        name: tuple(sorted((f for f in every if f.dimension == name), key=place))
        for name in DIMENSIONS
    }


@dataclass(frozen=True)
class Wanted:
    """What is looked for: every word of `text` somewhere on the card, and of each dimension with a chosen
    value one of those chosen."""

    text: str = ""
    chosen: frozenset[Facet] = frozenset()

    def finds(self, card: Card) -> bool:
        """Whether a card is meant."""
        has, words = facets(card), self.text.casefold().split()
        return all(w in str(card).casefold() for w in words) and all(
            any(f in has for f in self.chosen if f.dimension == name)
            for name in {f.dimension for f in self.chosen}
        )

    def toggled(self, facet: Facet) -> Wanted:
        """The same with one value more, or without it."""
        return replace(self, chosen=self.chosen ^ {facet})

    def counts(self, cards: Sequence[Card]) -> Counter[Facet]:
        """Value → how many cards have it and all that is wanted of the other dimensions: those it would
        show, were it the only one chosen of its dimension. 0 for those that would show nothing."""
        found: Counter[Facet] = Counter()
        for name in DIMENSIONS:
            rest = replace(self, chosen=frozenset(f for f in self.chosen if f.dimension != name))
            for card in filter(rest.finds, cards):
                found.update(f for f in facets(card) if f.dimension == name)
        return found
