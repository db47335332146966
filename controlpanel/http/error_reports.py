"""Django's error reports with secrets masked, whether DEBUG is on or off."""

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from projects.confidential.redaction import MASK, mask_all, redact_all


class _Shown:
    """A value in a report. Secrets are masked before Django truncates the value, so that no part of one is left."""

    def __init__(self, value: Any) -> None:
        try:
            self._text = redact_all(repr(value))
        except Exception as error:  # noqa: BLE001 - an error report must not raise
            self._text = f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"

    def __repr__(self) -> str:
        return self._text


class ReportFilter(SafeExceptionReporterFilter):
    """Masks variables whose names suggest a secret, known secrets in any value, and all form input.

    Active with DEBUG too: people copy reports into tickets.
    """

    cleansed_substitute = MASK

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return dict.fromkeys(request.POST, MASK) if request is not None else {}

    def get_cleansed_multivaluedict(self, request: HttpRequest, multivaluedict: QueryDict) -> QueryDict:
        masked = multivaluedict.copy()
        for name in masked:
            masked[name] = MASK
        return masked

    def get_traceback_frame_variables(self, request: Any, tb_frame: FrameType) -> ItemsView[str, Any]:
        variables = dict(super().get_traceback_frame_variables(request, tb_frame))
        for name, value in variables.items():
            variables[name] = MASK if self.hidden_settings.search(name) else _Shown(value)
        return variables.items()


class Reporter(ExceptionReporter):
    """Masks secrets in the whole report, including the exception's text."""

    def get_traceback_data(self) -> dict[str, Any]:
        data = super().get_traceback_data()
        for name in ("exception_value", "exception_notes", "unicode_hint"):
            if data.get(name):
                data[name] = redact_all(data[name])
        return data

    def get_traceback_html(self) -> SafeString:
        return SafeString(mask_all(super().get_traceback_html()))  # Django's own page, escaped  # nosec B703

    def get_traceback_text(self) -> SafeString:
        return SafeString(mask_all(super().get_traceback_text()))  # Django's own, plain text  # nosec B703
