"""Numbers from the environment, refused in a sentence that names the variable."""

import environ
from django.core.exceptions import ImproperlyConfigured


def whole_number(env: environ.Env, name: str, *, default: int, least: int = 1, most: int = 1_000_000) -> int:
    """Return the variable as an int between `least` and `most`. Raises ImproperlyConfigured."""
    text = env.str(name, default=str(default)).strip()
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:9]) <= most:
        raise ImproperlyConfigured(f"{name} is '{text}'; it has to be a whole number from {least} to {most}.")
    return int(text)


def choice(env: environ.Env, name: str, *, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words. Raises ImproperlyConfigured, in a sentence, for another one."""
    value: str = env.str(name, default=default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is '{value}'. Set it to one of: {', '.join(allowed)}.")
    return value


def seconds(env: environ.Env, name: str, *, default: float) -> float:
    """Return the variable as a positive number of seconds. Raises ImproperlyConfigured."""
    text = env.str(name, default=str(default)).strip()
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1_000_000:
        raise ImproperlyConfigured(f"{name} is '{text}'; it has to be a number of seconds above 0.")
    return value
