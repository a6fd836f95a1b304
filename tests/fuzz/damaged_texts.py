"""JSON and TOML with values that do not belong there."""

from __future__ import annotations

import json
import re
from typing import Any

from .damage import Chance, damage, pick

#: As they stand in a JSON document.
_VALUES = (
    *("null", "true", "0", "-1", "1e999", "-0.0", "0.5", "1.0000001", "18446744073709551616", "1" * 400, "NaN", "Infinity"),
    *('""', '"\\ud800"', '"a\\nb"', '"../../etc/passwd"', f'"{"x" * 600}"', '"\\u0000"'),
    *("[]", "{}", "[0,0,0,0]", "[-1,-1,65501,65501]", "[" * 3000 + "]" * 3000, "[" * 200_000, '{"a":' * 2000),
)
_TOML_VALUES = (
    *("0", "-1", "1e400", "nan", "inf", "true", "99999999999999999999999", "0x7fffffffffffffff", "1" * 5000, "1979-05-27"),
    *('""', '"../x.onnx"', '"a\\nb"', '"""\nmany\nlines"""', f"'{'x' * 5000}'"),
    *("[]", "{}", "[1, 2, 3]", "[[[[1]]]]", "[" * 3000 + "]" * 3000),
)
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"(?!\s*:)|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null')
_KEY = re.compile(r'"\w+"(?=\s*:)')


def damaged_json(chance: Chance, document: Any) -> bytes:
    """The text of ``document`` with some values or keys replaced, doubled or damaged."""
    text = json.dumps(document)
    for _ in range(int(chance.integers(1, 4))):
        how = chance.random()
        found = list((_VALUE if how < 0.7 else _KEY).finditer(text))
        if how < 0.6 and found:
            place = pick(chance, found)
            text = text[: place.start()] + pick(chance, _VALUES) + text[place.end() :]
        elif how < 0.7 and found:
            one, other = pick(chance, found), pick(chance, found)
            text = text[: one.start()] + other[0] + text[one.end() :]
        elif how < 0.8 and found:
            place = pick(chance, found)
            text = text[: place.start()] + f'"more": 1, {place[0]}' + text[place.end() :]
        elif how < 0.87 and found:
            place = pick(chance, found)
            text = text[: place.start()] + pick(chance, found)[0] + text[place.end() :]
        else:
            return damage(chance, text.encode("utf-8", "surrogatepass"))
    return text.encode("utf-8", "surrogatepass")


def damaged_toml(chance: Chance, text: str) -> bytes:
    """Lines of ``text`` with other values, twice, lost, or in another order; or bytes of it damaged."""
    lines = text.splitlines()
    for _ in range(int(chance.integers(1, 4))):
        which = int(chance.integers(len(lines)))
        how = chance.random()
        if how < 0.6 and " = " in lines[which]:
            lines[which] = f"{lines[which].split(' = ')[0]} = {pick(chance, _TOML_VALUES)}"
        elif how < 0.7:
            lines.insert(int(chance.integers(len(lines) + 1)), lines[which])
        elif how < 0.8 and len(lines) > 1:
            del lines[which]
        elif how < 0.9:
            other = int(chance.integers(len(lines)))
            lines[which], lines[other] = lines[other], lines[which]
        else:
            return damage(chance, "\n".join(lines).encode())
    return "\n".join(lines).encode()
