"""Which score belongs to which label: by path, and by file name where that is unique."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of labels' and scores' names. ``by_name`` are those pairs whose folders differ; ``ambiguous`` labels had more than one
    candidate; ``labels_left`` (with the ambiguous ones) and ``scores_left`` have no partner."""

    pairs: dict[str, str]
    by_name: tuple[tuple[str, str], ...]
    ambiguous: tuple[str, ...]
    labels_left: tuple[str, ...]
    scores_left: tuple[str, ...]


def normal_path(text: str) -> str:
    """``text`` with forward slashes and without a leading ``./``."""
    return text.replace("\\", "/").removeprefix("./")


def file_name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def match(labels: Iterable[str], scores: Iterable[str]) -> Matches:
    """Pair the images of a labels file with those of a score file.

    First equal paths; then paths of which one is the end of the other (``plate/A01.jpg`` and ``data/plate/A01.jpg``); then file names
    that occur once in either file, whatever their folders. A name with several candidates is not guessed.

    >>> match(["a/1.jpg", "2.jpg", "b/3.jpg", "4.jpg"], ["a/1.jpg", "b/2.jpg", "c/3.jpg", "a/4.jpg", "b/4.jpg"]).pairs
    {'a/1.jpg': 'a/1.jpg', '2.jpg': 'b/2.jpg', 'b/3.jpg': 'c/3.jpg'}
    """
    all_labels, all_scores = dict.fromkeys(labels), dict.fromkeys(scores)
    pairs = {name: name for name in all_labels if name in all_scores}
    pairs |= _by_tails(_without(all_labels, pairs), _without(all_scores, pairs.values()))
    by_name = _by_file_name(all_labels, all_scores, pairs)
    pairs |= by_name
    labels_left, scores_left = _without(all_labels, pairs), _without(all_scores, pairs.values())
    open_names = set(map(file_name, scores_left))
    return Matches(
        pairs={name: pairs[name] for name in all_labels if name in pairs},
        by_name=tuple(by_name.items()),
        ambiguous=tuple(name for name in labels_left if file_name(name) in open_names),
        labels_left=tuple(labels_left),
        scores_left=tuple(scores_left),
    )


def _without(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    gone = set(taken)
    return [name for name in names if name not in gone]


def _tails(path: str) -> Iterator[str]:
    """``a/b/c``, ``b/c``, ``c``."""
    parts = path.split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _by_tails(labels: list[str], scores: list[str]) -> dict[str, str]:
    """Pairs of which one is the end of the other, where neither has a second such partner."""
    ending: dict[str, list[str]] = defaultdict(list)
    for score in scores:
        for tail in _tails(score):
            ending[tail].append(score)
    full = set(scores)
    partners = {label: {*ending.get(label, ()), *(tail for tail in _tails(label) if tail in full)} for label in labels}
    wanted = Counter(score for candidates in partners.values() for score in candidates)
    return {label: score for label, (score, *more) in ((k, v) for k, v in partners.items() if v) if not more and wanted[score] == 1}


def _by_file_name(labels: Iterable[str], scores: Iterable[str], pairs: dict[str, str]) -> dict[str, str]:
    """Pairs, not among ``pairs``, whose file name occurs once among all labels and once among all scores."""
    times_labels, times_scores = Counter(map(file_name, labels)), Counter(map(file_name, scores))
    score_of = {file_name(score): score for score in scores}
    once = (label for label in labels if times_labels[file_name(label)] == times_scores[file_name(label)] == 1)
    return {label: score_of[file_name(label)] for label in once if label not in pairs}
