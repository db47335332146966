"""Refuses to save a form over a change that its user has not seen.

The form of an object carries its version: a keyed digest of each value that the form edits, those of its inline rows
included. A form whose object has changed since it was opened is refused, with both values of each field. A digest says
that a value changed and nothing about the value, so secrets may be among them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.forms.formsets import DELETION_FIELD_NAME, INITIAL_FORM_COUNT, TOTAL_FORM_COUNT
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.text import capfirst

from projects.confidential.encrypted_fields import EncryptedText, EncryptedTextField

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _Admin = ModelAdmin[Any]
    _Form = forms.ModelForm[Any]
else:
    _Admin = object
    _Form = forms.ModelForm

# The version that a form carries, and the one that its user chose to replace.
VERSION = "_version"
REPLACED = "_replaced_version"

_NOTHING = "–"
_Version = Mapping[str, str]
_Typed = dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that has changed since the form was opened: what is stored now, and what the form would store."""

    label: str
    theirs: str
    yours: str


class VersionedForm(_Form):
    """The form of an object that exists. VersionedAdmin makes a subclass of it for each request."""

    versioned_inlines: "list[VersionedInline]"
    differences: tuple[Difference, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stored = {
            name: _digest(self.instance, name, _comparable(self.initial.get(name)))
            for name, field in self.fields.items()
            if not field.disabled
        }
        for inline in self.versioned_inlines:
            self._stored |= inline.digests

    @property
    def stored_version(self) -> str:
        return json.dumps(self._stored)

    @property
    def carried_version(self) -> str:
        """Return the version for the page. A refused form keeps its version, so saving it again is refused too."""
        return self.data.get(VERSION, "") if self.differences else self.stored_version

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        carried = _read_version(self.data.get(REPLACED) or self.data.get(VERSION))
        found = [*self._find_differences(carried)]
        for inline in self.versioned_inlines:
            found += inline.find_differences(cast("QueryDict", self.data), carried)
        self.differences = tuple(found)
        if found:
            raise ValidationError(
                f"The {self.instance._meta.verbose_name} was changed after this form was opened. Nothing is saved. "
                "Compare the values above.",
                code="changed_meanwhile",
            )
        return cleaned

    def _find_differences(self, carried: _Version) -> Iterator[Difference]:
        for name, digest in self._stored.items():
            field = self.fields.get(name)
            if field is None or carried.get(name) == digest:
                continue
            stored = self.initial.get(name)
            yours = self.cleaned_data[name] if name in self.cleaned_data else self[name].data
            if _comparable(yours) != _comparable(stored):
                label = str(capfirst(field.label or name))
                yield Difference(label, _show(field, stored, yours), _show(field, yours, stored))


class VersionedInline:
    """The rows of an inline of an object: as they are stored, and as a form carries them."""

    def __init__(self, inline: Any, request: HttpRequest, parent: models.Model) -> None:
        formset = inline.get_formset(request, parent)
        self._prefix: str = formset.get_default_prefix()
        self._names: list[str] = list(formset.form.base_fields)
        self._label = str(capfirst(inline.verbose_name or inline.opts.verbose_name))
        stored = inline.get_queryset(request).filter(**{formset.fk.name: parent})
        self._model: type[models.Model] = inline.model
        self._rows: dict[str, models.Model] = {str(row.pk): row for row in stored}
        self._lost: list[_Typed] = []

    @property
    def digests(self) -> dict[str, str]:
        return {self._key(pk): self._digest(row) for pk, row in self._rows.items()}

    def rebase(self, data: QueryDict) -> QueryDict:
        """Return the form's data as it applies to the rows that are stored now.

        An entered row that is no longer stored becomes a new one, and a new one becomes the stored row of its name.
        A formset could neither show nor save them otherwise.
        """
        typed = self._read(data)
        known = {row["id"] for row in typed}
        added = {str(row): pk for pk, row in self._rows.items() if pk not in known}
        self._lost = [row for row in typed if row["id"] and row["id"] not in self._rows and not _is_deleted(row)]
        old = [row for row in typed if row["id"] in self._rows]
        old += [{**row, "id": added[row["name"]]} for row in typed if not row["id"] and row.get("name") in added]
        new = [row for row in typed if not row["id"] and row.get("name") not in added]
        new += [{**row, "id": ""} for row in self._lost if self._entered(row)]
        if [*old, *new] == typed:
            return data
        rebased = data.copy()
        for key in data:
            if _row_key(self._prefix, key):
                del rebased[key]
        rebased[f"{self._prefix}-{INITIAL_FORM_COUNT}"] = str(len(old))
        rebased[f"{self._prefix}-{TOTAL_FORM_COUNT}"] = str(len(old) + len(new))
        for index, row in enumerate([*old, *new]):
            for name, value in row.items():
                rebased[f"{self._prefix}-{index}-{name}"] = value
        return rebased

    def find_differences(self, data: QueryDict, carried: _Version) -> Iterator[Difference]:
        for typed in self._lost:
            yours = self._show_typed(typed) if self._entered(typed) else "no value entered: stays removed"
            yield Difference(f"{self._label} {typed.get('name', '')}", "removed", yours)
        typed_rows = {row["id"]: row for row in self._read(data)}
        for pk, row in self._rows.items():
            typed = typed_rows.get(pk, {})
            if typed and carried.get(self._key(pk)) != self._digest(row) and self._changes(row, typed):
                yield Difference(f"{self._label} {row}", self._show(row), self._show_typed(typed))

    def _read(self, data: QueryDict) -> list[_Typed]:
        """Return the rows in a form's data, each as its values by name. The `id` of a new one is ""."""
        rows: dict[int, _Typed] = {}
        for key in data:
            if place := _row_key(self._prefix, key):
                rows.setdefault(place[0], {"id": ""})[place[1]] = str(data[key])
        return [rows[index] for index in sorted(rows)]

    def _key(self, pk: str) -> str:
        return f"{self._prefix}/{pk}"

    def _digest(self, row: models.Model) -> str:
        return _digest(row, "", [_comparable(getattr(row, name)) for name in self._names])

    def _is_secret(self, name: str) -> bool:
        return isinstance(self._model._meta.get_field(name), EncryptedTextField)

    def _entered(self, typed: _Typed) -> bool:
        """Whether the row has a value for its secret: a stored one is never sent to the browser."""
        return any(typed.get(name) for name in self._names if self._is_secret(name))

    def _changes(self, row: models.Model, typed: _Typed) -> bool:
        texts = [name for name in self._names if not self._is_secret(name)]
        differs = any(typed.get(name, "") != _comparable(getattr(row, name)) for name in texts)
        return differs or _is_deleted(typed) or self._entered(typed)

    def _show(self, row: models.Model) -> str:
        values = [(name, getattr(row, name)) for name in self._names]
        return ", ".join(f"{name} {value}" for name, value in values if str(value))

    def _show_typed(self, typed: _Typed) -> str:
        if _is_deleted(typed):
            return "removed"
        values = {name: typed.get(name, "") for name in self._names}
        for name in filter(self._is_secret, self._names):
            values[name] = "•••••• (entered)" if values[name] else "as stored"
        return ", ".join(f"{name} {value}" for name, value in values.items() if value)


class VersionedAdmin(_Admin):
    """A ModelAdmin whose forms carry the version of their object. Saving one locks the object's row."""

    change_form_before_template = "admin/_version.html"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if not change or obj is None or not self.has_change_permission(request, obj):
            return form
        inlines = getattr(request, "versioned_inlines", None) or self._versioned_inlines(request, obj)
        return type(form.__name__, (VersionedForm, form), {"versioned_inlines": inlines})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if request.method != "POST" or object_id is None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        with transaction.atomic():
            row = self.lock_row(request, object_id)
            if row is None and self.has_add_permission(request):
                return self._offer_to_add(request, object_id)
            if row is not None and self.has_change_permission(request, row):
                inlines = self._versioned_inlines(request, row)
                for inline in inlines:
                    request.POST = inline.rebase(request.POST)  # type: ignore[assignment] # a copy is mutable
                request.versioned_inlines = inlines  # type: ignore[attr-defined] # get_form makes the form with them
            return super().changeform_view(request, object_id, form_url, extra_context)

    def lock_row(self, request: HttpRequest, object_id: str) -> Any:
        """Return the object as it is now, None if there is none. Its row stays locked until the transaction ends, so
        nothing can change between the comparison of versions and the save."""
        try:
            key = self.opts.pk.to_python(unquote(object_id))
        except ValidationError:
            return None
        return self.model._base_manager.select_for_update().filter(pk=key).first()

    def _versioned_inlines(self, request: HttpRequest, row: models.Model) -> list[VersionedInline]:
        return [VersionedInline(inline, request, row) for inline in self.get_inline_instances(request, row)]

    def _offer_to_add(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer the form of an object that was deleted since then with the form that adds one, with the same input."""
        name = self.opts.verbose_name
        messages.warning(
            request,
            f"This {name} was deleted after its form was opened. To add it again as you entered it, save this form.",
        )
        names = self.get_form(request, None, change=False).base_fields
        typed = {name: ",".join(request.POST.getlist(name)) for name in names if name in request.POST}
        add = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_add")
        return HttpResponseRedirect(f"{add}?{urlencode(typed)}")


def _read_version(text: str | None) -> _Version:
    """Return the digests in a version. Empty for a form that carries none or an invalid one."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(digest) for key, digest in found.items()} if isinstance(found, dict) else {}


def _digest(row: models.Model, name: str, value: object) -> str:
    identity = json.dumps([row._meta.label, str(row.pk), name, value])
    return salted_hmac("projects.admin.versions", identity, algorithm="sha256").hexdigest()[:24]


def _comparable(value: object) -> str | list[str]:
    """Return the same for a stored value and for an equal one of a form. Several rows are a list of keys."""
    match value:
        case models.Model():
            return str(value.pk)
        case models.QuerySet() | list() | tuple() | set():
            return sorted(str(_comparable(item)) for item in value)
        case EncryptedText():
            return value.stored
        case _:
            return "" if value is None else str(value).replace("\r\n", "\n")


def _show(field: forms.Field, value: object, other: object) -> str:
    """Return a value as the page shows it: of several rows, those that the other value doesn't have."""
    match value:
        case bool():
            return "Yes" if value else "No"
        case models.QuerySet() | list() | tuple() | set():
            others = set(_comparable(other)) if isinstance(other, Iterable) else set()
            names = [str(item) for item in value if _comparable(item) not in others]
            return f"with {', '.join(names)}" if names else "without them"
        case models.Model() | None | "":
            return str(value or _NOTHING)
    if isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
        return str(field.queryset.model._base_manager.filter(pk=value).first() or value)
    return str(dict(getattr(field, "choices", ())).get(value, value))


def _is_deleted(typed: _Typed) -> bool:
    return DELETION_FIELD_NAME in typed


def _row_key(prefix: str, key: str) -> tuple[int, str] | None:
    """Split a key of a formset's data into the number of the row and the field's name."""
    found = re.fullmatch(rf"{re.escape(prefix)}-([0-9]{{1,6}})-(.+)", key)
    return (int(found[1]), found[2]) if found else None
