"""What Oracle's own errors mean to the people who run us: come again, change the settings, or ask the DBA."""

from __future__ import annotations

import re

from crystal_search.errors import CrystalSearchError, SettingsError, TryAgainLater

_CODE = re.compile(r"\b(?:ORA|DPY|DPI)-\d{4,5}\b")

#: Where the password comes from, by the section of the settings that names the account.
PASSWORD_VARIABLES = {"xtaltrak": "CRYSTAL_SEARCH_ORACLE_PASSWORD", "viewer": "CRYSTAL_SEARCH_VIEWER_PASSWORD"}

#: A service that a listener does not know may belong to a database that is just starting.
UNKNOWN_SERVICE = frozenset({"ORA-12514", "ORA-12505", "DPY-6001", "DPY-6003"})

_NO_ALIAS = "xtaltrak.dsn is no host:port/service and stands in no tnsnames.ora; check xtaltrak.dsn and xtaltrak.config_dir"
_SERVICE = "the listener knows no such service; check xtaltrak.dsn"
_THICK = 'xtaltrak.mode = "thick" (with Oracle\'s Instant Client in xtaltrak.lib_dir) can do what thin can not'
_NAMES = "check xtaltrak.names and the grants of our account; `crystal-search doctor` tells which"
_REFUSED = "the database refuses what we write; `crystal-search doctor` tells why"

#: What has to be changed before it can work, by code; the first that an error names counts.
_SETTINGS = {
    "ORA-01017": "user name or password is wrong; check {section}.user and {variable} or {section}.password_file",
    "ORA-01005": "the password is empty; check {variable} or {section}.password_file",
    "ORA-28000": "our account is locked; the DBA unlocks it",
    "ORA-28001": "our account's password has expired; the DBA sets another",
    "ORA-01045": "our account may not connect; the DBA grants CREATE SESSION",
    "ORA-12154": _NO_ALIAS,
    "DPY-4000": _NO_ALIAS,
    "DPY-4026": _NO_ALIAS,
    "DPY-4027": _NO_ALIAS,
    "DPY-4017": "xtaltrak.dsn is not a valid descriptor",
    "DPY-4018": "xtaltrak.dsn is not a valid descriptor",
    **dict.fromkeys(UNKNOWN_SERVICE, _SERVICE),
    "DPY-3010": f"this server is too old for thin mode (12.1 is the first); {_THICK}",
    "DPY-3015": f"the account's password is stored in a way that thin mode can not use; the DBA sets it anew, or {_THICK}",
    "DPY-3001": f"the server asks for what thin mode has not (native encryption); {_THICK}",
    "DPI-1047": "Oracle's Instant Client is not found; check xtaltrak.lib_dir",
    "DPI-1072": "Oracle's Instant Client is too old; check xtaltrak.lib_dir",
    "ORA-00942": f"a table or view is not there, or not granted; {_NAMES}",
    "ORA-00904": f"a column is not there; {_NAMES}",
    "ORA-02289": f"our sequence is not there, or not granted; {_NAMES}",
    "ORA-01031": f"our account lacks a right; {_NAMES}",
    "ORA-41900": f"our account lacks a right; {_NAMES}",
    "ORA-00932": f"a column has another type than we think; {_NAMES}",
    "ORA-01722": f"a column that should hold numbers holds something else; {_NAMES}",
    "ORA-01402": "the view takes no such scorer: ARTSCORES_OWN takes another scorer than xtaltrak.scorer, or PEOPLE_SCORES a name of ours; "
    "make them fit (docs/how-to/oracle.md)",
    "ORA-16000": "the database is open for reading only; connect to the primary one",
    **dict.fromkeys(("ORA-00001", "ORA-02290", "ORA-02291", "ORA-01400", "ORA-12899", "ORA-01438", "ORA-04098"), _REFUSED),
}

#: What passes by itself or when a DBA makes room, by what to say of it.
_PASSING_CODES = {
    "another program holds it locked": "ORA-00054 ORA-30006 ORA-00060 ORA-04021",
    "it took longer than xtaltrak.statement_seconds": "ORA-01013 DPY-4024 DPI-1067",
    "the connection is lost": "ORA-00028 ORA-02396 ORA-03113 ORA-03114 ORA-03135 ORA-12537 ORA-12547 ORA-25408 "
    "DPY-1001 DPY-4011 DPI-1010 DPI-1080",
    "it starts, stops or lets nobody in": "ORA-01033 ORA-01034 ORA-01089 ORA-01090 ORA-01092 ORA-01109 ORA-12526 ORA-12527 ORA-12528 "
    "ORA-27101 DPY-6000",
    "it has no connection left": "ORA-00018 ORA-00020 ORA-02391 ORA-12516 ORA-12518 ORA-12519 ORA-12520",
    "it has no space left": "ORA-00257 ORA-01536 ORA-01653 ORA-01654 ORA-01688 ORA-30036",
    "the query took too long to be consistent": "ORA-01555",
}
_PASSING = {code: meaning for meaning, codes in _PASSING_CODES.items() for code in codes.split()}
_UNREACHABLE = {"ORA-12170", "ORA-12535", "ORA-12541", "ORA-12543", "ORA-12545", "ORA-12560", "ORA-12609", "DPY-6005"}


def codes_of(error: BaseException) -> list[str]:
    """Oracle's codes in an error's text, in their order."""
    return _CODE.findall(str(error))


def explain_oracle(error: Exception, what: str, doing: str = "", section: str = "xtaltrak") -> CrystalSearchError:
    """The one line that ``error`` of Oracle's driver means for the database ``what``; ``doing`` is the statement that met it, ``section``
    the part of the settings that names our account.
    """
    codes = codes_of(error)
    detail = _one_line(error)
    where = f"{what}, {doing}" if doing else what
    if meaning := next((_SETTINGS[code] for code in codes if code in _SETTINGS), None):
        meaning = meaning.replace("{section}", section).replace("{variable}", PASSWORD_VARIABLES[section])
        return SettingsError(f"{where}: {meaning} ({detail})")
    if meaning := next((_PASSING[code] for code in codes if code in _PASSING), None):
        return TryAgainLater(f"{where}: {meaning} ({detail}); try again later")
    if "certificate" in detail.lower() or "ssl" in detail.lower():
        return SettingsError(f"{where}: TLS fails; check xtaltrak.wallet and xtaltrak.dsn ({detail})")
    if _UNREACHABLE.intersection(codes) or isinstance(error, OSError):
        return TryAgainLater(f"{where}: can not be reached ({detail}); is it up, and xtaltrak.dsn right? Try again later")
    if any("ORA-20000" <= code <= "ORA-20999" for code in codes):  # what a trigger raises
        return SettingsError(f"{where}: {_REFUSED} ({detail})")
    return CrystalSearchError(f"{where}: {detail}")


def _one_line(error: Exception) -> str:
    """The error's text without help addresses and numbers that differ each time, so that the same trouble is the same line."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Help:")]
    return re.sub(r" ?\(CONNECTION_ID=[^)]*\)\.?", "", ": ".join(lines)) or type(error).__name__
