"""Tracebacks for the log without the texts of exceptions, which can contain Secrets."""

from __future__ import annotations


def without_text(error: BaseException) -> Exception:
    """Return an exception whose traceback shows the types and frames of `error` and its causes, without messages."""
    shown: Exception = type(type(error).__qualname__, (Exception,), {"__module__": type(error).__module__})()
    shown.__traceback__ = error.__traceback__
    if error.__cause__ is not None:
        shown.__cause__ = without_text(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        shown.__context__ = without_text(error.__context__)
    return shown
