"""Idle connections to one address, kept for further requests."""

import time
from collections import deque
from collections.abc import Callable

from kinesis_fast.limits import MAX_IDLE_S
from kinesis_fast.transport.direct.connection import Connection
from kinesis_fast.transport.direct.connector import Connector


class Pool:
    """Keeps as many connections as there were requests at a time. Several threads may use it.

    Args:
        connector: learns the TLS session of each new connection; its user opens the connections.
        clock: seconds that only grow, as time.monotonic().
    """

    def __init__(self, connector: Connector, clock: Callable[[], float] = time.monotonic) -> None:
        self.connector = connector
        self._clock = clock
        # With the time since when each is idle; the one used last is at the right end.
        self._idle: deque[tuple[Connection, float]] = deque()
        self._closed = False

    def acquire(self) -> Connection | None:
        """Return the connection used last that is still usable, None if there is none.

        Close those that are not: the peer has closed them or sent something unasked, or they
        have been idle for so long that the peer may close them at any moment.
        """
        while True:
            try:
                connection, idle_since_s = self._idle.pop()
            except IndexError:
                return None
            if not self._is_stale(idle_since_s) and connection.is_alive():
                return connection
            connection.close()

    def release(self, connection: Connection) -> None:
        """Keep a connection whose response is complete, or close it if it cannot be used again."""
        if not connection.reusable:
            connection.close()
            return
        if connection.is_new:  # once only: reading the TLS session copies it with its certificates
            connection.is_new = False
            self.connector.remember(connection)
        self._idle.append((connection, self._clock()))
        self._close_oldest_if_stale()
        if self._closed:  # perhaps just now, by another thread, which has missed this connection
            self.close()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are released."""
        self._closed = True
        while self._idle:
            try:
                self._idle.pop()[0].close()
            except IndexError:  # another thread was faster
                return

    def _is_stale(self, idle_since_s: float) -> bool:
        return self._clock() - idle_since_s >= MAX_IDLE_S

    def _close_oldest_if_stale(self) -> None:
        """Close one connection that will never be used again; the next call closes the next."""
        try:
            oldest, idle_since_s = self._idle.popleft()
        except IndexError:  # another thread was faster
            return
        if self._is_stale(idle_since_s):
            oldest.close()
        else:
            self._idle.appendleft((oldest, idle_since_s))
