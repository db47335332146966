"""The form of the admin's log-in page."""

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as _AuthenticationForm
else:
    from unfold.forms import AuthenticationForm as _AuthenticationForm


class LogInForm(_AuthenticationForm):
    """Says to whom the password is right what their account lacks. Others learn nothing of it."""

    def confirm_login_allowed(self, user: User) -> None:
        if user.is_active and not user.is_staff:
            raise ValidationError(
                f"{user.get_username()} may not use the panel yet. Ask an administrator to tick “Staff status” for it.",
                code="not_staff",
            )
        super().confirm_login_allowed(user)
