"""Statements that PostgreSQL plans once for each connection: planning them takes longer than what they do.

They are prepared in SQL, since psycopg2 has no other way, in the round trip of their first use. A pooler
before PostgreSQL may hand the next use to another session, which has not prepared it: statements are sent
whole from then on.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

_PARAMETER = re.compile(r"%\((\w+)\)s(::[a-z0-9]+(?:\[\])?)?")
# PostgreSQL plans for the tables' sizes of that moment, which the next million runs may change.
USES = 500
# There is none of that name; there is one.
_OF_ANOTHER_SESSION = {"26000", "42P05"}
# Whether a statement is prepared, in place of the number of its uses.
_NOT_KNOWN = -1


class Statement:
    """One statement, whose parameters are psycopg2's, by name: `text` as it is sent whole.

    Its name in PostgreSQL tells it from all others, whatever release made them.
    """

    def __init__(self, name: str, text: str) -> None:
        self.text = text
        casts: dict[str, str] = {}
        for parameter, cast in _PARAMETER.findall(text):
            casts[parameter] = casts.get(parameter) or cast
        numbers = {parameter: number for number, parameter in enumerate(casts, 1)}
        numbered = _PARAMETER.sub(lambda found: f"${numbers[found[1]]}{found[2] or ''}", text)
        # As many characters of it as make it one of its kind.
        self.name = f"provision_{name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        values = ", ".join(f"%({parameter})s{cast}" for parameter, cast in casts.items())
        self.execute = f"EXECUTE {self.name} ({values})"
        self.first = f"PREPARE {self.name} AS {numbered}; {self.execute}"
        self.renewed = f"DEALLOCATE {self.name}; {self.first}"


class Statements:
    """How one store's statements are sent."""

    def __init__(self) -> None:
        self._are_whole = False

    def ask(self, connection: Any, statement: Statement, values: dict[str, Any]) -> Any:
        """Run the statement on SQLAlchemy's connection, in one round trip; return its result."""
        if self._are_whole:
            return connection.exec_driver_sql(statement.text, values)
        uses = connection.info.setdefault("provision statements", {})
        count = uses.get(statement.name, 0)
        if count in (0, _NOT_KNOWN):
            text = statement.first
        else:
            text = statement.execute if count % USES else statement.renewed
        uses[statement.name] = max(count, 0) + 1
        try:
            return connection.exec_driver_sql(text, values)
        except Exception as error:
            # The errors of `statements.py` have the driver's as their cause.
            code = getattr(getattr(error, "orig", None) or error.__cause__, "pgcode", None)
            if not code:
                # Nothing came as far as PostgreSQL, or the connection is gone.
                uses[statement.name] = count
            elif code in _OF_ANOTHER_SESSION:
                # Of what failed in between, PostgreSQL says here that it is prepared.
                self._are_whole |= count != _NOT_KNOWN
            elif text != statement.execute:
                # What is prepared outlives its transaction.
                uses[statement.name] = _NOT_KNOWN
            raise
