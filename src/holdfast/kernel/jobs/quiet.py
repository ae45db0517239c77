"""Whether anything was written since the last look: cheaper to ask than what there is to do."""

import sqlite3

from sqlalchemy.engine.url import make_url

from holdfast.kernel.db import Database


class Quiet:
    """A look at SQLite's counter of changes: some microseconds, no transaction, no thread."""

    def __init__(self, database: Database) -> None:
        self._path = make_url(database.url).database if database.is_sqlite else None
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None

    def changed(self) -> bool:
        """Whether anybody has written since this was asked last. Others than SQLite: always."""
        if not self._path:
            return True
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, timeout=0)
            # It counts what all other connections commit, of this process too.
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            self.close()
            return True
        before, self._seen = self._seen, version
        return bool(version != before)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._seen = None, None
