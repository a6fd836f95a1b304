"""``crystal-search dba-script``: what the lab's DBA sets up in XtalTrak's Oracle database, with this site's names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from crystal_search import settings
from crystal_search.errors import UsageError
from crystal_search.settings import Identifier, load_settings
from crystal_search.xtaltrak.names import DETAIL_TABLES, resolve_names, statement

#: XtalTrak's own tables; we read them and no more.
_READ = ("I_INSPECTIONS", "I_IMAGES", "I_SCORES", "I_PLATE_INSPECTIONS", "PLATES", "PROJECTS", "PLATE_DROPS", "SAMPLES")
#: What is made for us, what we may do with it, and the statements that make it.
_OURS = {
    "ARTSCORES_OWN": ("SELECT, INSERT, UPDATE, DELETE", ("create_artscores_own",), "VIEW"),
    "ARTSCORE_SEQ": ("SELECT", ("create_artscore_seq",), "SEQUENCE"),
    "ARTSCORES": ("SELECT, INSERT, DELETE", ("create_artscores", "create_artscores_index"), "TABLE"),
    "ARTSCORE_REGIONS": ("SELECT, INSERT, DELETE", ("create_artscore_regions",), "TABLE"),
    "ARTSCORE_PICTURES": ("SELECT, INSERT, DELETE", ("create_artscore_pictures",), "TABLE"),
    "ARTSCORES_BOTH": ("SELECT", ("create_artscores_both",), "VIEW"),
}


def dba_script(section: settings.XtalTrak, owner: Identifier, account: Identifier) -> str:
    """The DDL for a site's names: ``owner`` is the schema of XtalTrak's tables, ``account`` ours. Raises ``SettingsError``."""
    return "\n".join(_setting_up(section, owner, account)) + "\n"


def removal_script(section: settings.XtalTrak, owner: Identifier, account: Identifier) -> str:
    """What takes all of it out again. The rows under our scorer's name in the score table stay: ``undo`` takes those back."""
    names = resolve_names(section.names)
    lines = [
        "-- Takes out what `dba-script` set up. ARTscores in the score table stay: `crystal-search undo` takes them back first.",
        "",
        f"DROP USER {account} CASCADE;",
        f"ALTER SESSION SET CURRENT_SCHEMA = {owner};",
        *(f"DROP {kind} {names[key]};" for key, (_, _, kind) in reversed(_OURS.items())),
    ]
    return "\n".join(lines) + "\n"


def _setting_up(section: settings.XtalTrak, owner: str, account: str) -> Iterator[str]:
    names = resolve_names(section.names)
    filled = {**names, "SCORER": "'" + section.scorer.replace("'", "''") + "'"}
    yield f"""-- What the lab's DBA sets up for Crystal Search in XtalTrak's Oracle database, once; printed by `crystal-search dba-script`.
-- NOT YET RUN AGAINST A LIVE ORACLE: read it before running it, and try it in a copy of the database.
--
-- The account may read the tables that it needs and write nothing but what is its own: a view of the score table that shows and takes
-- rows of the scorer {section.scorer} only, and three tables of ours. So the database itself refuses a change of a person's score.
-- Run it as a DBA (the last grant as SYS), after changing the password. No person may be called as the scorer.

CREATE USER {account} IDENTIFIED BY "change-this";
GRANT CREATE SESSION TO {account};

-- What has no schema in the settings (xtaltrak.names) is looked for, and made, in this one.
ALTER SESSION SET CURRENT_SCHEMA = {owner};"""
    for _, statements, _ in _OURS.values():
        for name in statements:
            yield f"\n{statement('oracle', name, filled)};"
    yield "\n-- SELECT, not READ: it includes LOCK TABLE, which keeps people's scores and ours apart for the moment of a write."
    read = (*_READ, *(DETAIL_TABLES[detail] for detail in section.details or () if detail in DETAIL_TABLES))
    yield from (f"GRANT SELECT ON {names[key]} TO {account};" for key in read)
    yield from (f"GRANT {may} ON {names[key]} TO {account};" for key, (may, _, _) in _OURS.items())
    plain = [names[key] for key in (*read, *_OURS) if "." not in names[key]]
    if plain:
        yield "\n-- So that the account finds them under the names of the settings."
        yield from (f"CREATE SYNONYM {account}.{name} FOR {owner}.{name};" for name in plain)
    yield f"""
-- `crystal-search doctor` and the importer look whether somebody has put a trigger on the score table; an account that does not own
-- the table sees that nowhere else. SYS has to grant it.
GRANT SELECT ON SYS.DBA_TRIGGERS TO {account};

-- What the account may now do: beside reading, INSERT, UPDATE or DELETE on what is ours alone.
SELECT TABLE_NAME, PRIVILEGE FROM DBA_TAB_PRIVS WHERE GRANTEE = '{account}' ORDER BY TABLE_NAME, PRIVILEGE;"""


@click.command("dba-script")
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--owner", default="CRYSTAL", show_default=True, help="The schema that owns XtalTrak's tables.")
@click.option("--account", default="CRYSTAL_SEARCH", show_default=True, help="Our own account, which the script makes.")
@click.option("--remove", is_flag=True, help="Print what takes it all out again.")
def dba_script_command(settings_file: Path | None, owner: str, account: str, remove: bool) -> None:
    """Print the SQL that the lab's DBA runs once: account, view, sequence, tables of ours and grants, with the names of the settings."""
    for option, name in (("--owner", owner), ("--account", account)):
        try:
            settings.check_identifier(name)
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error
    script = removal_script if remove else dba_script
    click.echo(script(load_settings(settings_file).xtaltrak, owner, account), nl=False)
