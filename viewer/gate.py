"""Who may come in: the local person by a token, users by password, or whoever a trusted proxy names. And what a change has to bring."""

from __future__ import annotations

import getpass
import hmac
import re
import secrets
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from crystal_search.errors import SettingsError
from crystal_search.xtaltrak.person_rows import MOST_CHARACTERS, checked_scorer
from viewer.errors import NotAllowed, SignInFirst, TooManyTries
from viewer.lab import Lab
from viewer.person import Person, Role
from viewer.sessions import Session, end_session, find_session, start_session
from viewer.users import user_named, user_with_password

COOKIE = "crystal_search"
CSRF_HEADER = "X-CSRF-Token"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_TRIES = 5
_TRIES_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person with the sign-in that this request came with; ``new_token`` goes into the browser's cookie."""

    person: Person
    session: Session
    new_token: str | None = None


class Tries:
    """Passwords that were wrong lately, by user and by address: guessing is slow."""

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def check(self, *keys: str) -> None:
        """Raises ``TooManyTries`` after five wrong passwords within five minutes."""
        with self._lock:
            for key in keys:
                failed = self._failed[key]
                while failed and failed[0] < time.monotonic() - _TRIES_SECONDS:
                    failed.popleft()
                if len(failed) >= _TRIES:
                    raise TooManyTries("too many wrong passwords: wait five minutes, or ask an admin")
                if not failed:
                    del self._failed[key]

    def failed(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._failed[key].append(time.monotonic())


class Gate:
    """Finds the person of a request. ``local_token`` signs the local person in, who has every right on this machine's own viewer."""

    def __init__(self, lab: Lab, local_name: str | None = None) -> None:
        self._lab = lab
        self._tries = Tries()
        self.access = lab.settings.viewer.access
        self.local_token = secrets.token_urlsafe(24)
        self.local_person = Person(local_name or local_user(), Role.ADMIN)
        if self.access == "local":
            checked_scorer(self.local_person.name, lab.settings.xtaltrak.scorer)

    def visitor(self, request: HTTPConnection) -> Visitor:
        """Who asks. Raises ``SignInFirst``, ``NotAllowed``."""
        token = request.cookies.get(COOKIE)
        with self._lab.ledger.read() as connection:
            session = find_session(connection, token)
            if self.access == "proxy":
                name = self._name_by_proxy(request)
                person = user_named(connection, name)
                if person is None:
                    raise NotAllowed(
                        f"{name[:MOST_CHARACTERS]} is no user of the viewer: an admin adds one with `crystal-search viewer-user add`"
                    )
            elif session is None:
                raise SignInFirst("sign in first: you are not signed in, or your sign-in has expired")
            elif self.access == "local":
                person = Person(session.person, session.role)
            else:
                person = user_named(connection, session.person)
                if person is None:
                    raise SignInFirst("sign in first: this user may no longer come in")
        if session is None or session.person != person.name:
            return self._signed_in(person)
        return Visitor(person, session)

    def sign_in_local(self, token: str) -> Visitor:
        """By the address that `crystal-search serve` prints. Raises ``NotAllowed``."""
        if self.access != "local" or not hmac.compare_digest(token.encode(), self.local_token.encode()):
            raise NotAllowed("this address is no longer valid: open the one that `crystal-search serve` has printed")
        return self._signed_in(self.local_person)

    def sign_in(self, name: str, password: str, address: str) -> Visitor:
        """By name and password. Raises ``NotAllowed`` with the same line whatever is wrong, ``TooManyTries``."""
        keys = (f"user {name.casefold()}", f"address {address}")
        self._tries.check(*keys)
        with self._lab.ledger.read() as connection:
            person = user_with_password(connection, name, password) if self.access == "passwords" else None
        if person is None:
            self._tries.failed(*keys)
            raise NotAllowed("name or password is wrong")
        return self._signed_in(person)

    def sign_out(self, request: HTTPConnection) -> None:
        with self._lab.ledger.begin() as connection:
            end_session(connection, request.cookies.get(COOKIE))

    def check_change(self, request: HTTPConnection, visitor: Visitor) -> None:
        """A change has to bring the token that only our own pages know (CSRF). Raises ``NotAllowed``."""
        if not hmac.compare_digest(request.headers.get(CSRF_HEADER, "").encode(), visitor.session.csrf.encode()):
            raise NotAllowed("this page is of an earlier sign-in: reload it; nothing was changed")

    def _signed_in(self, person: Person) -> Visitor:
        with self._lab.ledger.begin() as connection:
            token, session = start_session(connection, person, self._lab.settings.viewer.session_hours)
        return Visitor(person, session, token)

    def _name_by_proxy(self, request: HTTPConnection) -> str:
        viewer = self._lab.settings.viewer
        address = request.client.host if request.client else ""
        if address not in viewer.proxy_addresses:
            raise NotAllowed("the viewer is reached through the lab's proxy only")
        names = request.headers.getlist(viewer.proxy_header)
        if len(names) != 1 or not names[0].strip():
            raise SignInFirst(f"the proxy gave no user's name ({viewer.proxy_header})")
        return names[0].strip()


def local_user() -> str:
    """The name of whoever starts the viewer, as it may stand in XtalTrak."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "local"
    return re.sub(r"[^A-Za-z0-9._-]", "", name)[:MOST_CHARACTERS] or "local"


def allowed_hosts(lab: Lab) -> list[str]:
    """Names under which browsers may reach us: another name in a request is an attack on the browser (DNS rebinding).

    Raises ``SettingsError`` for settings that would let the network in without sign-in.
    """
    viewer = lab.settings.viewer
    if viewer.access == "local" and viewer.host not in _LOOPBACK:
        raise SettingsError(f'viewer.host: {viewer.host}: access = "local" listens on this machine only; for others set viewer.access')
    if viewer.host in ("0.0.0.0", "::") and not viewer.hosts:
        raise SettingsError("viewer.hosts: is empty: name the hosts under which browsers reach the viewer")
    return [*sorted(_LOOPBACK), "[::1]", *viewer.hosts, *([viewer.host] if viewer.host not in ("0.0.0.0", "::") else [])]
