"""The score that XtalTrak stores for each class: the paper's (P2), or a site's own where it numbers differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crystal_search.classes import BY_NAME, CLASSES, DropClass, class_of_score


@dataclass(frozen=True, slots=True)
class ScoreCodes:
    """``own`` holds a site's codes by class name; a class that it leaves out has the paper's.

    >>> ScoreCodes({"clear": "0"}).of("clear"), ScoreCodes({"clear": "0"}).of("precipitate")
    ('0', '13')
    """

    own: Mapping[str, str]

    def of(self, class_name: str) -> str:
        """The code of a class; rim has that of clear."""
        name = "clear" if class_name == "rim" else class_name
        return self.own.get(name, BY_NAME[name].score)

    @property
    def all(self) -> list[str]:
        """Every code, once each, by priority."""
        return list(dict.fromkeys(self.of(known.name) for known in CLASSES))

    @property
    def mixed(self) -> list[str]:
        """The codes that classes of different groups share: nobody could tell a crystal from a clear drop."""
        return [code for code in self.all if len({known.group for known in self._meant(code)}) > 1 and code in self.own.values()]

    def is_known(self, score: str) -> bool:
        """Whether a class has that code."""
        return bool(self._meant(score))

    def class_of(self, score: str | None) -> DropClass:
        """The class that a stored score means. Raises ``ValueError`` with one line where it is none, or one of several."""
        score = score or ""
        meant = self._meant(score)
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise ValueError(f"score {score!r} means {' or '.join(known.name for known in meant)}")
        raise ValueError(f"unknown score {score!r}: known are {', '.join(self.all)}")

    def _meant(self, score: str) -> list[DropClass]:
        text = score.strip()
        if not self.own:
            try:
                return [class_of_score(text)]
            except ValueError:
                return []
        return [known for known in CLASSES if known.name != "rim" and _plain(self.of(known.name)) == _plain(text)]


def _plain(code: str) -> str:
    """A number without leading zeros; any other text as it is."""
    return str(int(code)) if code.isascii() and code.isdigit() else code
