"""A lint of Oracle statements: what H2 in Oracle mode lets pass and an Oracle (11.2 on) refuses, or understands otherwise.

It reads sqlglot's syntax tree, and its tokens where the tree has lost what was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

#: The longest name before Oracle 12.2.
MAX_NAME = 30
#: Oracle takes no more in one IN list.
MAX_IN = 1000
#: Oracle's reserved words that other databases take as names (V$RESERVED_WORDS has them all; these look like columns).
RESERVED = re.compile(
    "ACCESS|ADD|AUDIT|CLUSTER|COLUMN|COMMENT|COMPRESS|CURRENT|DATE|EXCLUSIVE|FILE|IDENTIFIED|IMMEDIATE|INCREMENT|INDEX|INITIAL|LEVEL|LOCK|LONG"
    "|MAXEXTENTS|MODE|MODIFY|NOAUDIT|NOCOMPRESS|NOWAIT|NUMBER|OFFLINE|ONLINE|OPTION|PCTFREE|PRIOR|PRIVILEGES|PUBLIC|RAW|RENAME|RESOURCE|ROW|ROWID"
    "|ROWNUM|ROWS|SESSION|SHARE|SIZE|START|SUCCESSFUL|SYNONYM|SYSDATE|TRIGGER|UID|USER|VALIDATE|VARCHAR|VIEW|WHENEVER"
)
#: What sqlglot can not parse, and what it has to look like.
_BEYOND_SQLGLOT = re.compile(r"LOCK TABLE [A-Z0-9_$#.]+ IN (SHARE ROW EXCLUSIVE|EXCLUSIVE) MODE (NOWAIT|WAIT \d+)")
#: Pseudo-columns and functions without brackets, which a tree shows as columns.
_PSEUDO = frozenset({"ROWNUM", "ROWID", "LEVEL", "SYSDATE", "USER", "UID"})

_Rule = Callable[[exp.Expression, list[Token]], Iterator[str]]


def lint(sql: str) -> list[str]:
    """One line for each thing in an Oracle statement that Oracle refuses or understands otherwise; empty when there is none."""
    if _BEYOND_SQLGLOT.fullmatch(re.sub(r"--.*\n", "", sql).strip()):
        return []
    try:
        tokens = sqlglot.tokenize(sql, read="oracle")
        trees = sqlglot.parse(sql, read="oracle")
    except SqlglotError as error:
        return [f"can not be parsed: {str(error).splitlines()[0]}"]
    if len(trees) != 1 or trees[0] is None:
        return [f"{len(trees)} statements instead of one"]
    tree = trees[0]
    if isinstance(tree, exp.Command):
        return []  # DDL and the like that sqlglot passes through
    return [line for rule in _RULES for line in rule(tree, tokens)]


def _alias_with_as(tree: exp.Expression, tokens: list[Token]) -> Iterator[str]:
    allowed = len(list(tree.find_all(exp.Cast))) + len(list(tree.find_all(exp.CTE))) + len(list(tree.find_all(exp.Create)))
    if sum(token.token_type is TokenType.ALIAS for token in tokens) > allowed:
        yield "alias with AS: Oracle refuses it for tables; leave AS out"


def _select_without_from(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if any(select.args.get("from_") is None and select.args.get("from") is None for select in tree.find_all(exp.Select)):
        yield "SELECT without FROM: Oracle before 23 needs FROM DUAL"


def _boolean(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if tree.find(exp.Boolean):
        yield "TRUE or FALSE: SQL in Oracle before 23 has neither"


def _long_in(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if any(len(found.expressions) > MAX_IN for found in tree.find_all(exp.In)):
        yield f"IN with more than {MAX_IN} items (ORA-01795)"


def _names(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    for name in tree.find_all(exp.Identifier):
        if len(name.this) > MAX_NAME:
            yield f"{name.this}: longer than {MAX_NAME} characters (ORA-00972)"
        if name.args.get("quoted"):
            yield f'"{name.this}": a quoted name; Oracle minds its case'
        is_pseudo = isinstance(name.parent, exp.Column) and not name.parent.table and name.this.upper() in _PSEUDO
        if RESERVED.fullmatch(name.this.upper()) and not is_pseudo:
            yield f"{name.this}: a reserved word as a name (ORA-00904, ORA-01747)"


def _binds(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    for bind in tree.find_all(exp.Placeholder):
        if RESERVED.fullmatch(bind.name.upper()):
            yield f":{bind.name}: a reserved word as a bind (ORA-01745)"


def _paging(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if tree.find(exp.Fetch, exp.Limit, exp.Offset):
        yield "FETCH FIRST, LIMIT or OFFSET: 11.2 has none of them, and none goes with FOR UPDATE (ORA-02014); page by ROWNUM"
    for rownum in (column for column in tree.find_all(exp.Column) if column.name.upper() == "ROWNUM"):
        select = rownum.find_ancestor(exp.Select)
        if select is not None and select.args.get("order") and not select.args.get("group"):
            yield "ROWNUM beside ORDER BY: rows are counted before they are sorted; sort in a subquery"


def _division(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if tree.find(exp.Div):
        yield "division: Oracle divides integers into fractions, H2 does not; use TRUNC or FLOOR"


def _empty_text(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if any(literal.is_string and literal.this == "" for literal in tree.find_all(exp.Literal)):
        yield "'': Oracle takes it for NULL"


def _date_of_text(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    for cast in tree.find_all(exp.Cast):
        if cast.to.is_type("date", "timestamp", "datetime") and not isinstance(cast.this, exp.Column | exp.Literal):
            yield "CAST to a date: its format is the session's; use TO_DATE with one"


def _foreign_dialect(tree: exp.Expression, _: list[Token]) -> Iterator[str]:
    if tree.find(exp.OnConflict):
        yield "ON CONFLICT: not Oracle's; use NOT EXISTS or MERGE"
    if any(isinstance(found.parent, exp.GT | exp.GTE | exp.LT | exp.LTE) for found in tree.find_all(exp.Tuple)):
        yield "(A, B) > (C, D): Oracle compares rows for equality only (ORA-01796)"
    if any(join.args.get("kind") == "CROSS" and join.args.get("on") for join in tree.find_all(exp.Join)):
        yield "CROSS JOIN with ON: not Oracle's"
    if tree.find(exp.Lock) and tree.find(exp.Group, exp.Distinct):
        yield "FOR UPDATE with DISTINCT or GROUP BY (ORA-01786)"


_RULES: tuple[_Rule, ...] = (
    _alias_with_as,
    _select_without_from,
    _boolean,
    _long_in,
    _names,
    _binds,
    _paging,
    _division,
    _empty_text,
    _date_of_text,
    _foreign_dialect,
)
