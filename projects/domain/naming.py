"""Converts project names to Kubernetes names. Pure."""

import re
import unicodedata

MAX_NAME_LENGTH = 60
# The predecessor cut names here, and its objects still carry the cut names.
MAX_KUBERNETES_NAME_LENGTH = 20
_SEPARATORS = re.compile(r"[\s_.-]+")
_NOT_KUBERNETES = re.compile(r"[^a-z0-9-]")
_NOT_IN_NAMES = re.compile(r"[^\w .-]")


class InvalidNameError(ValueError):
    """The name can't be used; the message says what to do."""


def legacy_name(name: str) -> str:
    """Return the Kubernetes name that the predecessor gave a project: lower case, only `[a-z0-9-]`, cut to 20. It may
    end in a hyphen or be empty. Used to find the predecessor's objects."""
    return _NOT_KUBERNETES.sub("", name.lower())[:MAX_KUBERNETES_NAME_LENGTH]


def kubernetes_name(name: str) -> str:
    """Return the RFC 1035 label of a project's name: `Shop API` → `shop-api`. Accents are folded, separators become
    hyphens, and a leading digit gets the prefix `p-`. Cut to 20. Raises InvalidNameError if nothing is left.

    The predecessor dropped separators (`legacy_name`). Projects keep the label that they were added with.
    """
    folded = unicodedata.normalize("NFKD", name)
    label = _NOT_KUBERNETES.sub("", _SEPARATORS.sub("-", folded.lower())).strip("-")
    if label[:1].isdigit():
        label = f"p-{label}"
    label = label[:MAX_KUBERNETES_NAME_LENGTH].rstrip("-")
    if not label:
        raise InvalidNameError(
            "The name has no letter a-z and no digit, and its objects in Kubernetes are named after those. Add one."
        )
    return label


def clean_name(name: str) -> str:
    """Return the name with normalized white space. Raises InvalidNameError if it is empty, has more than 60 characters,
    or contains characters other than letters, digits, spaces, `-`, `_` and `.`."""
    tidy = " ".join(name.split())
    if not tidy:
        raise InvalidNameError("The name is empty. Give the project a name, such as 'web-shop'.")
    if len(tidy) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"The name has {len(tidy)} characters. Shorten it to {MAX_NAME_LENGTH} or fewer.")
    unusable = sorted(set(_NOT_IN_NAMES.findall(tidy)))
    if unusable:
        shown = " ".join(character if character.isprintable() else f"U+{ord(character):04X}" for character in unusable)
        raise InvalidNameError(
            f"The name has characters that can't be used: {shown}. "
            "Use letters, digits, spaces, hyphens, underscores and dots."
        )
    if not tidy[0].isalnum():
        raise InvalidNameError(
            "The name has to start with a letter or a digit. Remove the characters before the first one."
        )
    kubernetes_name(tidy)
    return tidy
