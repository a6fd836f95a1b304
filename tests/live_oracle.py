"""A live Oracle for the acceptance kit: two accounts of its own, made and dropped; docs/how-to/oracle.md says how to run it.

One account owns XtalTrak's tables, the other is ours with no more than what ``crystal-search dba-script`` grants. NOT YET RUN
against a live Oracle.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import oracledb
from h2_xtaltrak import DATA, statements_of

from crystal_search import settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.dba import dba_script
from crystal_search.xtaltrak.names import tables
from crystal_search.xtaltrak.oracle import OracleXtalTrak
from crystal_search.xtaltrak.oracle_connection import pool_of

OWN = ("ARTSCORES", "ARTSCORE_REGIONS", "ARTSCORE_PICTURES")
DSN, USER, PASSWORD = (f"CRYSTAL_SEARCH_ORACLE_{what}" for what in ("DSN", "USER", "PASSWORD"))


def _asked(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise RuntimeError(f"{variable} is not set: an Oracle, and an account that may create users (docs/how-to/oracle.md)")
    return value


class Person:
    """A connection of somebody who is not us, in the owner's schema."""

    def __init__(self, dsn: str, user: str, password: str, schema: str) -> None:
        mode = oracledb.AUTH_MODE_SYSDBA if user.upper() == "SYS" else oracledb.AUTH_MODE_DEFAULT
        self._connection = oracledb.connect(dsn=dsn, user=user, password=password, mode=mode)
        self.execute(f"ALTER SESSION SET CURRENT_SCHEMA = {schema}")

    def cursor(self) -> Any:
        return self._connection.cursor()

    def execute(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def commit(self) -> None:
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


class LiveLab:
    """What ``H2Lab`` is, in a live Oracle."""

    def __init__(self) -> None:
        mark = secrets.token_hex(4).upper()
        self.owner, self.account = f"CS_OWNER_{mark}", f"CS_ACCOUNT_{mark}"
        self.password = f"P{secrets.token_hex(12)}"
        self._admin = (_asked(DSN), _asked(USER), _asked(PASSWORD))
        self._keeper = Person(*self._admin, schema=self._admin[1])
        self._environment: str | None = None
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        self._keeper.execute(f'CREATE USER {self.owner} IDENTIFIED BY "{self.password}"')
        self._keeper.execute(f"GRANT UNLIMITED TABLESPACE TO {self.owner}")
        self._keeper.execute(f"ALTER SESSION SET CURRENT_SCHEMA = {self.owner}")
        for sql in statements_of(DATA / "oracle_schema.sql"):
            if not sql.startswith("CREATE SEQUENCE"):  # the DBA's script makes it
                self._keeper.execute(sql)
        for sql in dba_statements(self.section, self.owner, self.account, self.password):
            self._keeper.execute(sql)

    @property
    def section(self) -> settings.XtalTrak:
        names = {table: f"{self.owner}.{table}" for table in tables()}
        return settings.XtalTrak(dialect="oracle", dsn=self._admin[0], user=self.account, names=names)

    def xtaltrak(self, scorer: str = "ARTscore", names: Mapping[str, str] | None = None) -> OracleXtalTrak:
        """A connection of ours, as every program of ours opens it."""
        os.environ[PASSWORD] = self.password
        try:
            section = self.section
            changed = section.model_copy(update={"scorer": scorer, "names": {**section.names, **(names or {})}})
            opened = open_xtaltrak(changed)
        finally:
            os.environ[PASSWORD] = self._admin[2]
        assert isinstance(opened, OracleXtalTrak)
        return opened

    def connect(self) -> Person:
        return Person(*self._admin, schema=self.owner)

    def execute(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """A statement and its commit, as somebody who is not us."""
        rows = self._keeper.execute(sql, **params)
        self._keeper.commit()
        return rows

    def person_lock(self, connection: Any) -> None:
        """A person writes a score and has not committed yet."""
        connection.execute("INSERT INTO I_INSPECTIONS VALUES (99, 'LOCK', 1, NULL, 1, 1, 1)")
        connection.execute("INSERT INTO I_SCORES VALUES (99, 99, '11', SYSDATE, NULL, 'Berta')")

    def clear(self) -> None:
        for table in ("I_SCORES", "I_IMAGES", "I_INSPECTIONS", "I_PLATE_INSPECTIONS", "PLATE_DROPS", "SAMPLES", "PLATES", "PROJECTS", *OWN):
            self._keeper.execute(f"DELETE FROM {table}")
        self._keeper.commit()

    def close(self) -> None:
        pool_of.cache_clear()
        for user in (self.account, self.owner):
            with suppress(oracledb.Error):
                self._keeper.execute(f"DROP USER {user} CASCADE")
        self._keeper.close()


def dba_statements(section: settings.XtalTrak, owner: str, account: str, password: str) -> list[str]:
    """What the DBA runs, for these accounts."""
    text = re.sub(r"^\s*--.*\n?", "", dba_script(section, owner, account), flags=re.MULTILINE)
    return [part.strip().replace("change-this", password) for part in text.split(";") if part.strip()]
