"""What can go wrong between Rounds and Label Studio; no message ever carries a task's data."""


class LabelStudioError(Exception):
    """Label Studio could not do what was asked."""


class LabelStudioUnreachable(LabelStudioError):
    """Label Studio does not answer, or answers that it cannot serve."""


class LabelStudioRefused(LabelStudioError):
    """Label Studio answered and refused; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SchemeInvalid(Exception):
    """A file in `annotation_configs/` is missing or wrong; names the file and the field."""


class SyncError(Exception):
    """A submitted annotation cannot be read as a mask and is to be set aside."""
