"""What a browser is told when something is not as asked: a status of HTTP and one line that says what to do."""

from __future__ import annotations

from crystal_search.errors import CrystalSearchError


class HttpError(CrystalSearchError):
    """An answer of HTTP with one line; the line never holds anything that the asker may not know."""

    status = 400


class BadRequest(HttpError):
    pass


class SignInFirst(HttpError):
    status = 401


class NotAllowed(HttpError):
    status = 403


class NotFound(HttpError):
    """Not there, or not to be seen by this person: the same line for both."""

    status = 404


class BrokenImage(HttpError):
    """A file that is there and no readable image: nothing that a browser asked wrongly, and no failure of the viewer."""

    status = 422


class TooManyTries(HttpError):
    status = 429
