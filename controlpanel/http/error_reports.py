"""Django's error pages and reports, DEBUG on or off, without the secrets that were at hand when something failed."""

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from projects.confidential.redaction import MASK, mask_all, redact_all


class _Shown:
    """A value as a report shows it: masked before it is cut, so that no half of a secret is left."""

    def __init__(self, value: Any) -> None:
        try:
            self._text = redact_all(repr(value))
        except Exception as error:  # noqa: BLE001 - a report about an error must not fail itself
            self._text = f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"

    def __repr__(self) -> str:
        return self._text


class ReportFilter(SafeExceptionReporterFilter):
    """Masks by name what is called like a secret, and by value what is known to be one; with DEBUG as well, since a
    report is copied into tickets. What people typed into a form is never shown."""

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
    """A report whose every part is masked at last, the exception's own text included."""

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
