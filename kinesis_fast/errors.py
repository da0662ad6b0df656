"""The exceptions of this package; all of them are a KinesisFastError."""


class KinesisFastError(Exception):
    """Base of every exception that this package raises on purpose."""


class ConfigError(KinesisFastError, ValueError):
    """An option or variable is wrong; the text names it, its value and what is allowed."""


class ClosedError(KinesisFastError):
    """The output was used after close()."""


class SendFailureTimeout(KinesisFastError):
    """No record was acknowledged for SEND_FAILURE_TIMEOUT while there was something to send."""


class TransportError(KinesisFastError):
    """A request got no answer: no connection, a time-out, no credentials. It may have arrived.

    Attributes:
        n_sent: how often the request went out; an attempt to connect for it counts as well.
    """

    n_sent = 1


class StorageError(KinesisFastError):
    """Something on disk cannot be written or read; the text says what, why and what to do."""


class SpoolFull(StorageError):
    """The spool holds spool_max_bytes; the chunk was not taken."""


class DamagedChunk(StorageError):
    """A spooled chunk is not what was written; its file was set aside, not deleted."""
