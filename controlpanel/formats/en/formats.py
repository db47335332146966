"""Date formats of all pages: month names, 24 hours, and the time zone."""

DATE_FORMAT = SHORT_DATE_FORMAT = "d M Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "d M Y, H:i:s T"
