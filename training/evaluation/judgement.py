"""What a person says about an image, from the words that labs use for it, and what several people say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from crystal_search.classes import CLASSES, PRIORITY, Group, class_of_score

EMPTY_WELL = "empty_well"
#: The four groups as MARCO and people write them, in small letters; three of them are classes' names too.
_GROUP_WORDS = {"crystal": Group.CRYSTAL, "crystals": Group.CRYSTAL} | {str(group): group for group in Group}
_CLASS_WORDS = {c.name: c for c in CLASSES if c.name != "rim"}
_AMBIGUOUS = frozenset(_GROUP_WORDS) & frozenset(_CLASS_WORDS)

_T = TypeVar("_T")


class Words(StrEnum):
    """How ``precipitate``, ``other`` and ``clear`` are read, which name both a group and one of its classes."""

    GROUPS = "groups"
    CLASSES = "classes"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One person's word: a group, the class where the word names one, and whether the well holds no drop (group clear)."""

    group: Group
    class_name: str | None = None
    empty: bool = False

    @property
    def word(self) -> str:
        """The most exact name of it."""
        return EMPTY_WELL if self.empty else self.class_name or str(self.group)


@dataclass(frozen=True, slots=True)
class Consensus:
    """What people say together. ``tied``: two groups had equally many votes."""

    judgement: Judgement
    tied: bool


def words_of(labels: Iterable[str]) -> Words:
    """How a file means its ambiguous words: as classes where it names other classes or codes, and no bare ``crystal``.

    >>> str(words_of(["crystal", "clear"])), str(words_of(["clear", "crystals_harvestable"])), str(words_of(["clear"]))
    ('groups', 'classes', 'groups')
    """
    words = {label.lower() for label in labels} - _AMBIGUOUS - {EMPTY_WELL}
    return Words.CLASSES if words and not words & set(_GROUP_WORDS) else Words.GROUPS


def judgement_of(label: str, words: Words) -> Judgement:
    """What ``label`` means: a class's name, a score such as 23, a group, a MARCO name, or ``empty_well``; any case.

    >>> judgement_of("Crystals", Words.GROUPS).word, judgement_of("01", Words.GROUPS).word
    ('crystal', 'clear')

    Raises ``ValueError`` with one line for anything else.
    """
    word = label.lower()
    if word == EMPTY_WELL:
        return Judgement(Group.CLEAR, empty=True)
    if word in _GROUP_WORDS and not (word in _AMBIGUOUS and words is Words.CLASSES):
        return Judgement(_GROUP_WORDS[word])
    if word in _CLASS_WORDS:
        return Judgement(_CLASS_WORDS[word].group, word)
    try:
        found = class_of_score(word.removesuffix(".0"))  # a spreadsheet's number
    except ValueError:
        known = f"{', '.join(_CLASS_WORDS)}, a score such as 23, crystal (or MARCO's Crystals), {EMPTY_WELL}"
        raise ValueError(f"unknown label {label!r}: known are {known}") from None
    return Judgement(found.group, found.name)


def consensus(judgements: Sequence[Judgement]) -> Consensus:
    """The group that most people name; of groups with equally many votes the one of higher priority (P2), for a missed crystal is worse.

    Its class is found the same way among those who named the group; the well counts as empty if more than half of them say so.
    """
    group, tied = _most_named([judgement.group for judgement in judgements], list(Group).index)
    inside = [judgement for judgement in judgements if judgement.group is group]
    names = [judgement.class_name for judgement in inside if judgement.class_name]
    if 2 * sum(judgement.empty for judgement in inside) > len(inside):
        return Consensus(Judgement(group, empty=True), tied)
    return Consensus(Judgement(group, _most_named(names, PRIORITY.__getitem__)[0] if names else None), tied)


def _most_named(named: Sequence[_T], rank: Callable[[_T], int]) -> tuple[_T, bool]:
    votes = Counter(named)
    most = max(votes.values())
    leading = [word for word in votes if votes[word] == most]
    return min(leading, key=rank), len(leading) > 1
