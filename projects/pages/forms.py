"""Forms of the admin and of the own pages: sentences for whatever can't be used, and no secret sent to a browser."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain import naming
from projects.domain.limits import MAX_VARIABLE_BYTES, MAX_VARIABLES_BYTES
from projects.models import Project, ProjectVariable

if TYPE_CHECKING:
    ProjectModelForm = forms.ModelForm[Project]
    VariableModelForm = forms.ModelForm[ProjectVariable]
    PasswordWidget = forms.PasswordInput
else:
    PasswordWidget = UnfoldAdminPasswordWidget
    ProjectModelForm = VariableModelForm = forms.ModelForm

NAME_HELP = "Letters, digits, spaces, hyphens, underscores and dots, up to 60. It can't be changed later."
TYPE_IT_AGAIN = "Type the value again: it is not kept while the form has errors."
NAMESPACE_HELP = "Where its objects live in Kubernetes. Leave it empty for the panel's own."


class ProjectNameField(forms.CharField):
    """A project's name: any text is answered with the name, tidied, or with a sentence that says what to do."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, **options: Any) -> None:
        # A length limit in the browser would cut a pasted name in silence.
        options.pop("max_length", None)
        super().__init__(**{**options, "help_text": NAME_HELP})

    def clean(self, value: Any) -> str:
        try:
            return naming.clean_name(str(value or ""))
        except naming.InvalidNameError as error:
            raise ValidationError(str(error), code="invalid_name") from None


class ProjectAdminForm(ProjectModelForm):
    """The admin's form: a name only when adding, a namespace that may be left to the panel's default."""

    class Meta:
        model = Project
        fields = ("name", "owner", "description", "namespace", "template", "drift_policy", "default_database_allowed")
        field_classes = {"name": ProjectNameField}
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 3})}
        help_texts = {"namespace": NAMESPACE_HELP}


class AddProjectForm(ProjectModelForm):
    """The own page's form. Whoever adds a project owns it."""

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
            "description": "What it is for. Optional.",
            "namespace": NAMESPACE_HELP,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        template = self.fields["template"]
        if isinstance(template, forms.ModelChoiceField):
            template.empty_label = "None: as the panel's settings say"
            if template.queryset is None or not template.queryset.exists():
                del self.fields["template"]


class _LostValue(str):
    """Nothing, where a value had been typed before the form came back with errors."""


class TypedOnceWidget(PasswordWidget):
    """A secret that is never sent back to the browser: a form that is shown again says that it has to be typed again,
    and remembers that it had been."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field = super().render(name, value, attrs, renderer)
        # Only a form with errors has a value here: a stored one is no field's initial value.
        if not value and not isinstance(value, _LostValue):
            return field
        hint = format_html('<p class="panel-sub is-warning">{}</p>', TYPE_IT_AGAIN) if value else ""
        return format_html('{}<input type="hidden" name="{}-lost" value="1">{}', field, name, hint)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        typed = super().value_from_datadict(data, files, name)
        return _LostValue() if not typed and data.get(f"{name}-lost") else typed


class VariableForm(VariableModelForm):
    """A variable whose stored value never goes to the browser: an empty field keeps it, a new value replaces it."""

    value = forms.CharField(
        required=False,
        strip=False,
        widget=TypedOnceWidget(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = ProjectVariable
        fields = ("name", "value")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The row's EncryptedText must not become the field's initial value.
        self.initial.pop("value", None)
        if self.instance.pk and self.instance.value:
            self.fields["value"].widget.attrs["placeholder"] = "•••••• kept unless you type a new one"

    def clean_value(self) -> EncryptedText:
        """Encrypt what was typed; keep what is stored where nothing was. Null characters can't be in an environment."""
        typed: str = self.cleaned_data["value"]
        if "\0" in typed:
            raise ValidationError("The value has a null character, which no environment variable can hold.")
        if len(typed.encode()) > MAX_VARIABLE_BYTES:
            raise ValidationError(
                f"The value has {len(typed.encode())} bytes, and a variable holds {MAX_VARIABLE_BYTES} at most. Put "
                "long texts into a file of the image, or into a database table."
            )
        if isinstance(self["value"].data, _LostValue):
            otherwise = (
                "To keep the stored one, open the page anew" if self.instance.pk else "For an empty one, add it anew"
            )
            raise ValidationError(f"Type the value again: it was not kept while the form had errors. {otherwise}.")
        if not typed and self.instance.pk:
            return self.instance.value
        return EncryptedText.of(typed)


class VariableFormSet(forms.BaseInlineFormSet[ProjectVariable, Project, forms.ModelForm[ProjectVariable]]):
    """All variables of a project together: the Secret that carries them has a limit."""

    def clean(self) -> None:
        super().clean()
        total = sum(
            len(form.cleaned_data.get("name", "")) + form.cleaned_data["value"].size
            for form in self.forms
            if form.cleaned_data.get("value") and not form.cleaned_data.get("DELETE")
        )
        if total > MAX_VARIABLES_BYTES:
            raise ValidationError(
                f"The variables have {total} bytes together, and a project holds {MAX_VARIABLES_BYTES} at most, since "
                "Kubernetes stores them in one Secret. Remove or shorten some."
            )


class RevealForm(forms.Form):
    """Why someone wants to see the credentials, and where `asks_password` the proof that it is still they."""

    reason = forms.CharField(
        label="Why do you need them?",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "off", "placeholder": "e.g. connecting psql to debug"}
        ),
        error_messages={"required": "Say why you need the credentials: the reason stands in the project's timeline."},
    )
    password = forms.CharField(
        label="Your own password",
        strip=False,
        help_text="Your log-in is a while ago.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Your log-in is a while ago: type your own password to go on."},
    )

    def __init__(self, *args: Any, asks_password: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not asks_password:
            del self.fields["password"]
