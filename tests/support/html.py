"""Texts and links of a page, without the classes of the theme."""

import re
from html import unescape

from django.utils.html import strip_tags


def texts_of(body: str, attribute: str) -> list[str]:
    """Return the texts of the elements with this attribute, in order. These elements are not nested."""
    found = re.findall(rf"<(\w+)\b[^>]*\s{attribute}\b[^>]*>(.*?)</\1>", body, re.DOTALL)
    return [" ".join(strip_tags(inner).split()) for _, inner in found]


def links_of(body: str) -> list[tuple[str, str]]:
    """Return the text and the address of each link, in order. Texts of icons are left out."""
    shown = re.sub(r'<(\w+)[^>]*aria-hidden="true"[^>]*>.*?</\1>', "", body, flags=re.DOTALL)
    found = re.findall(r'<a\b[^>]*\shref="([^"]*)"[^>]*>(.*?)</a>', shown, re.DOTALL)
    return [(" ".join(strip_tags(inner).split()), href) for href, inner in found]


def text_of(body: str) -> str:
    """Return the text of a page, with white space as browsers show it."""
    return " ".join(unescape(strip_tags(body)).split())
