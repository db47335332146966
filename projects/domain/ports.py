"""Parses the ports of a sandbox: name:number, …"""

import re

from django.core.exceptions import ValidationError

from projects.confidential.redaction import one_line


def parse_ports(text: str) -> dict[str, int]:
    """Return {name: number} for "app:3000, terminal:7681". Raises ValidationError."""
    ports: dict[str, int] = {}
    for pair in text.split(","):
        name, _, digits = (part.strip() for part in pair.partition(":"))
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,13}[a-z0-9])?", name) or "--" in name:
            raise ValidationError(
                f"'{one_line(pair, 60)}' is not a port. Write name:number, the name in up to 15 lower-case letters, "
                "digits and hyphens: app:3000"
            )
        if not digits.isascii() or not digits.isdecimal() or len(digits) > 5 or not 0 < int(digits) < 65536:
            raise ValidationError(
                f"'{one_line(digits, 60)}' is not a port's number. Choose one from 1 to 65535: {name}:3000"
            )
        if name in ports or int(digits) in ports.values():
            raise ValidationError(f"The port {name}:{digits} repeats a name or a number. Remove one of the two.")
        ports[name] = int(digits)
    return ports
