"""The exceptions of this package; each is a KinesisFastError."""


class KinesisFastError(Exception):
    """The base class of every exception that this package raises on purpose."""


class ConfigError(KinesisFastError, ValueError):
    """An option or environment variable is wrong.

    The message names it, its value and what is allowed.
    """


class ClosedError(KinesisFastError):
    """The output was used after close()."""


class SendFailureTimeout(KinesisFastError):
    """No record was acknowledged for SEND_FAILURE_TIMEOUT while there were records to send."""


class TransportError(KinesisFastError):
    """A request got no response: no connection, a timeout, no credentials. It may have arrived.

    Attributes:
        n_sent: how often the request went out; an attempt to connect for it counts as well.
    """

    n_sent = 1


class StorageError(KinesisFastError):
    """A file or directory cannot be read or written; the message says why and what to do."""


class SpoolFull(StorageError):
    """The spool holds spool_max_bytes; the chunk was not stored."""


class DamagedChunk(StorageError):
    """A spooled chunk differs from what was written; its file was set aside, not deleted."""
