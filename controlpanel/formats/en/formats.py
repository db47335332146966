"""How every page writes a moment: no month is a number, no hour needs a.m. or p.m., and the zone is said."""

DATE_FORMAT = SHORT_DATE_FORMAT = "d M Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "d M Y, H:i:s T"
