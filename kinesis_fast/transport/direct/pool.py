"""Connections to one address that wait to be used again."""

import contextlib
import time
from collections import deque

from kinesis_fast.limits import MAX_IDLE_S
from kinesis_fast.transport.direct.connection import Connection
from kinesis_fast.transport.direct.connector import Connector


class Pool:
    """As many connections as requests are under way at a time; for several threads at once.

    Args:
        connector: opens them.
    """

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self._idle: deque[Connection] = deque()  # the one used last is at the right end
        self._closed = False

    def take(self) -> Connection | None:
        """Return the connection used last that is fit for use, None if there is none.

        Those that are not are closed: the other side has closed them or has said something, or
        they have been idle for so long that it may close them at any moment.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - connection.idle_since_s < MAX_IDLE_S and connection.is_alive():
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Take over a connection whose answer is complete."""
        if self._closed or not connection.reusable:
            connection.close()
            return
        if connection.is_new:  # reading a session out copies it, with the certificates
            connection.is_new = False
            self.connector.remember(connection)
        self._idle.append(connection)
        if len(self._idle) > 1:
            self._close_oldest()

    def close(self) -> None:
        """Close those that wait now, and those that are in use when they are given back."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _close_oldest(self) -> None:
        """Close what will never be used again, one at a time; the others move up."""
        with contextlib.suppress(IndexError):
            oldest = self._idle.popleft()
            if time.monotonic() - oldest.idle_since_s < MAX_IDLE_S:
                self._idle.appendleft(oldest)
            else:
                oldest.close()
