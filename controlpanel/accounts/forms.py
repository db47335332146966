"""The form of the admin's log-in page."""

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as _AuthenticationForm
else:
    from unfold.forms import AuthenticationForm as _AuthenticationForm


class LogInForm(_AuthenticationForm):
    """Explains a missing staff status, but only after the right password: others learn nothing about the account."""

    def confirm_login_allowed(self, user: User) -> None:
        if user.is_active and not user.is_staff:
            raise ValidationError(
                f"{user.get_username()} doesn't have staff status. Ask an administrator to enable it.",
                code="not_staff",
            )
        super().confirm_login_allowed(user)
