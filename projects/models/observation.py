"""What was last observed of a project or of one of its resources."""

from django.db import models

from projects.confidential.encrypted_fields import RedactedTextField
from projects.domain.states import Phase, Reason


class Observation(models.Model):
    """What was last observed, for users (message) and for programs (phase, reason)."""

    phase = models.CharField(max_length=20, choices=Phase.choices, default=Phase.NEW)
    reason = models.CharField(max_length=40, choices=Reason.choices, default=Reason.NOT_REQUESTED)
    message = RedactedTextField(blank=True)

    class Meta:
        abstract = True

    @property
    def is_settled(self) -> bool:
        return self.phase in Phase.settled()
