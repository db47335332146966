"""What a request comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: accepted (a task is in the queue) or refused, and why, in a sentence."""

    accepted: bool
    message: str


class RefusedRequestError(Exception):
    """A request that can't be carried out; the text says why and what else to do."""
