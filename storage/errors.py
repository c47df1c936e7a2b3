"""What can go wrong with rows and files, by who must act."""

from __future__ import annotations


class StorageError(Exception):
    """The storage could not do what was asked."""

    retryable: bool = False

    def __init__(self, message: str | None = None) -> None:
        """The docstring of the class is the message where none is given."""
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class DatabaseUnavailable(StorageError):
    """The database does not answer; nothing was written. Whoever runs it must act."""

    retryable = True


class SchemaOutdated(StorageError):
    """The database does not have the schema of this version: run `osteon migrate`."""


class StorageFull(StorageError):
    """The instance store has no room left; nothing was kept. Whoever runs it must act."""

    retryable = True


class StoreUnavailable(StorageError):
    """The instance store cannot be written or read. Whoever runs it must act."""

    retryable = True


class UnknownStudy(StorageError):
    """There is no study with this UID."""


class UnknownJob(StorageError):
    """There is no job with this number."""


class UnknownDelivery(StorageError):
    """There is no delivery with this number."""


class StaleAttempt(StorageError):
    """The job has moved on since the attempt was claimed; nothing was written."""


class NotAllowed(StorageError):
    """The state of the job does not allow this event; nothing was written."""
