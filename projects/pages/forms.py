"""Forms of the HTMX pages and of the admin. Stored secrets are never sent to the browser."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain import naming
from projects.domain.limits import MAX_VARIABLE_BYTES, MAX_VARIABLES_BYTES
from projects.domain.namespaces import allowed_namespaces
from projects.models import Project, ProjectVariable

if TYPE_CHECKING:
    ProjectModelForm = forms.ModelForm[Project]
    VariableModelForm = forms.ModelForm[ProjectVariable]
    ExpandableTextarea = forms.Textarea
else:
    ExpandableTextarea = UnfoldAdminExpandableTextareaWidget
    ProjectModelForm = VariableModelForm = forms.ModelForm

NAME_HELP = "Up to 60 letters, digits, spaces, hyphens, underscores and dots. The name can't be changed later."
ENTER_AGAIN = "Enter the value again. Values aren't kept when a form has errors."


class ProjectNameField(forms.CharField):
    """A project's name: cleans to the tidied name, or fails with a message that says what to change."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, **options: Any) -> None:
        # The browser's `maxlength` would cut a pasted name without a message.
        options.pop("max_length", None)
        super().__init__(**{**options, "help_text": NAME_HELP})

    def clean(self, value: Any) -> str:
        try:
            return naming.clean_name(str(value or ""))
        except naming.InvalidNameError as error:
            raise ValidationError(str(error), code="invalid_name") from None


def _describe_namespaces(form: forms.BaseForm) -> None:
    """Say in the help of the field `namespace`, if the form has one, which namespaces are allowed."""
    if "namespace" in form.fields:
        form.fields["namespace"].help_text = (
            "Kubernetes namespace for the project's objects. Leave empty for the default. Allowed: "
            f"{', '.join(allowed_namespaces())}."
        )


class ProjectAdminForm(ProjectModelForm):
    """The admin's form. An empty namespace becomes KUBE_NAMESPACE."""

    class Meta:
        model = Project
        fields = ("name", "owner", "description", "namespace", "template", "drift_policy", "default_database_allowed")
        field_classes = {"name": ProjectNameField}
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _describe_namespaces(self)


class AddProjectForm(ProjectModelForm):
    """The form of the page that adds a project. The user becomes the owner."""

    class Meta:
        model = Project
        fields = ("name", "description", "namespace", "template")
        field_classes = {"name": ProjectNameField}
        widgets = {
            "name": UnfoldAdminTextInputWidget(attrs={"autofocus": True, "autocomplete": "off"}),
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "namespace": UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
            "template": UnfoldAdminSelectWidget(),
        }
        help_texts = {
            "description": "What the project is for. Optional.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _describe_namespaces(self)
        template = self.fields["template"]
        if isinstance(template, forms.ModelChoiceField):
            template.empty_label = "Default template"
            if template.queryset is None or not template.queryset.exists():
                del self.fields["template"]


class _LostValue(str):
    """An empty value of a field that had one before the form was shown again with errors."""


class LinesField(forms.CharField):
    """A text field that keeps white space and line breaks. Browsers send each line break as CR LF; it is stored as LF,
    as it was entered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "strip": False})

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value) or "").replace("\r\n", "\n")


class SecretWidget(ExpandableTextarea):
    """A text area that shows dots (panel.css) and whose value is never sent back to the browser. A password input would
    lose the line breaks of a pasted key.

    When a form is shown again with errors, a hint says to enter the value again, and a hidden field remembers that
    there was one.
    """

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        # No spelling service and no password manager gets the value.
        quiet = {"autocomplete": "off", "autocapitalize": "off", "autocorrect": "off", "spellcheck": "false"}
        super().__init__({**quiet, "class": "panel-secret", **(attrs or {})})

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field = super().render(name, "", attrs, renderer)
        # Only a form with errors has a value here; stored values are never a field's initial value.
        if not value and not isinstance(value, _LostValue):
            return field
        hint = format_html('<p class="panel-sub is-warning">{}</p>', ENTER_AGAIN) if value else ""
        return format_html('{}<input type="hidden" name="{}-lost" value="1">{}', field, name, hint)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        typed = super().value_from_datadict(data, files, name)
        return _LostValue() if not typed and data.get(f"{name}-lost") else typed


class VariableForm(VariableModelForm):
    """A variable. Its stored value is never sent to the browser: an empty field keeps it, a new value replaces it."""

    value = LinesField(required=False, widget=SecretWidget)

    class Meta:
        model = ProjectVariable
        fields = ("name", "value")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Else the row's EncryptedText would be the field's initial value.
        self.initial.pop("value", None)
        if self.instance.pk and self.instance.value:
            self.fields["value"].widget.attrs["placeholder"] = "•••••• leave empty to keep"

    def clean_value(self) -> EncryptedText:
        """Return the entered value, encrypted, or the stored one if the field is empty."""
        typed: str = self.cleaned_data["value"]
        if "\0" in typed:
            raise ValidationError("Remove the null character: environment variables can't contain one.")
        if len(typed.encode()) > MAX_VARIABLE_BYTES:
            raise ValidationError(
                f"The value has {len(typed.encode())} bytes; the maximum is {MAX_VARIABLE_BYTES}. Put long texts into "
                "a file of the image or a database table."
            )
        if isinstance(self["value"].data, _LostValue):
            otherwise = (
                "To keep the stored value, reload the page."
                if self.instance.pk
                else "For an empty value, remove this variable and add it again."
            )
            raise ValidationError(f"{ENTER_AGAIN} {otherwise}", code="lost_value")
        if not typed and self.instance.pk:
            return self.instance.value
        return EncryptedText.of(typed)


class VariableFormSet(forms.BaseInlineFormSet[ProjectVariable, Project, forms.ModelForm[ProjectVariable]]):
    """The variables of a project. Their total size is limited, since one Secret holds them."""

    def clean(self) -> None:
        super().clean()
        total = sum(
            len(form.cleaned_data.get("name", "")) + form.cleaned_data["value"].size
            for form in self.forms
            if form.cleaned_data.get("value") and not form.cleaned_data.get("DELETE")
        )
        if total > MAX_VARIABLES_BYTES:
            raise ValidationError(
                f"The variables have {total} bytes in total; the maximum is {MAX_VARIABLES_BYTES}, since Kubernetes "
                "stores them in one Secret. Remove or shorten some."
            )


class RevealForm(forms.Form):
    """The reason for revealing credentials; with `asks_password`, also the user's password."""

    reason = forms.CharField(
        label="Reason for revealing the password",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": "For example: debug with psql"}),
        error_messages={"required": "Enter a reason. It is recorded in the project's events."},
    )
    password = forms.CharField(
        label="Your password",
        strip=False,
        help_text="Confirm your password to continue.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Confirm your password to continue."},
    )

    def __init__(self, *args: Any, asks_password: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not asks_password:
            del self.fields["password"]
