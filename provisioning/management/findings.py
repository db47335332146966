"""The results of doctor's checks."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: its subject, a verdict, and a message with what was found and what to do."""

    subject: str
    verdict: Verdict
    message: str


def ok(subject: str, message: str) -> Finding:
    return Finding(subject, Verdict.OK, message)


def warning(subject: str, message: str) -> Finding:
    return Finding(subject, Verdict.WARNING, message)


def failed(subject: str, message: str) -> Finding:
    return Finding(subject, Verdict.FAILED, message)
