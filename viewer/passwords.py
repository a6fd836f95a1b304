"""Passwords as they are kept: scrypt of the standard library, with its parameters and a salt of their own beside each hash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

#: 2^15 * 8 * 128 bytes = 32 MB a try, about 0.1 s: OWASP's advice for scrypt with p = 3 is of the same cost.
_N, _R, _P = 2**15, 8, 3
_MAX_MEMORY = 128 * 2**20
LEAST_CHARACTERS = 10
_MOST_CHARACTERS = 1000


def hash_password(password: str) -> str:
    """``scrypt$n$r$p$salt$hash``, another text each time."""
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", str(_N), str(_R), str(_P), _text(salt), _text(_scrypt(password, salt, _N, _R, _P))])


def is_password(password: str, kept: str | None) -> bool:
    """Whether ``password`` is the one of ``kept``. Takes as long where nothing is kept: who is a user can not be found out by time."""
    _, n, r, p, salt, wanted = (kept or _nobody()).split("$")
    if len(password) > _MOST_CHARACTERS:
        return False
    found = _scrypt(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(wanted)) and kept is not None


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=32)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _nobody() -> str:
    """No password has this hash, which costs as much as any to look at."""
    return "$".join(["scrypt", str(_N), str(_R), str(_P), _text(bytes(16)), _text(bytes(32))])
