"""Which protocol the requests of an output are in: CBOR only while the service speaks it."""

import threading

from kinesis_fast.delivery.retry import (
    MAX_QUOTED,
    Outcome,
    Verdict,
    is_sign_against_cbor,
    knows_cbor,
)
from kinesis_fast.logs import Log, printable
from kinesis_fast.transport import Response


class ProtocolInUse:
    """Goes from CBOR back to JSON for good when the service shows that it does not speak CBOR.

    Until a response in CBOR has come, a response of any other kind shows that. Afterwards it may be
    from a proxy, so only an error that says so counts. Any thread may call any method.

    Args:
        log: gets one line when it goes back to JSON.
        is_cbor: whether to begin with CBOR.

    Attributes:
        is_cbor: whether requests are CBOR; otherwise they are JSON.
    """

    def __init__(self, log: Log, *, is_cbor: bool = False) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._is_known = False  # whether the service has responded in CBOR
        self.is_cbor = is_cbor

    def counts(self, response: Response, verdict: Verdict) -> bool:
        """Take in the response to a request in CBOR.

        Args:
            response: as it came.
            verdict: what it means otherwise.

        Returns:
            Whether the verdict holds. If not, nothing was accepted, and the same records are to be
            sent as JSON.
        """
        if not self._is_known and knows_cbor(response):
            self._is_known = True
        if not is_sign_against_cbor(response, is_known=self._is_known):
            return True
        self._use_json(verdict.reason or "it responded in another form")
        return verdict.outcome in (Outcome.SETTLED, Outcome.PARTIAL)

    def _use_json(self, reason: str) -> None:
        with self._lock:
            was_cbor, self.is_cbor = self.is_cbor, False
        if was_cbor:
            self._log.warning(
                "the service does not take CBOR, so requests are JSON from now on; leave out the "
                "option protocol, or set it to json: %s",
                printable(reason, MAX_QUOTED),
            )
