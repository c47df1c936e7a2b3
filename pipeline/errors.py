"""What can go wrong in the pipeline, by who must act."""

from __future__ import annotations


class PipelineError(Exception):
    """The pipeline could not go on."""

    retryable: bool = False

    def __init__(self, message: str | None = None) -> None:
        """The docstring of the class is the message where none is given."""
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class StudyError(PipelineError):
    """The study lacks or contradicts what a reconstruction needs; whoever made it must act."""


class UnreadablePixels(StudyError):
    """The pixel stream of an instance is broken."""


class MissingGeometry(StudyError):
    """The geometry of an instance is missing and no setting may stand in for it."""


class ContradictoryGeometry(StudyError):
    """The geometry of an instance contradicts itself."""


class MissingView(StudyError):
    """A view that the rule expects is not among the images."""


class NoBone(StudyError):
    """No bone could be found in an image."""


class DegenerateView(PipelineError):
    """The source lies inside the volume, or on the plane of the detector."""
