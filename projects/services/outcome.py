"""The result of a request."""

from dataclasses import dataclass

from projects.domain.request_policy import Refusal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a request was accepted, and a message for people. A refused one has a CamelCase `reason` for programs."""

    accepted: bool
    message: str
    reason: str = ""

    @classmethod
    def refused(cls, refusal: Refusal) -> "Outcome":
        return cls(False, refusal.message, refusal.reason)


class RefusedRequestError(Exception):
    """A request that can't be carried out; the text says why, and what to do instead."""
