"""Objects with the panel's labels that belong to no project, and records whose objects are missing, as of the last
inventory."""

from django.db import models

from projects.domain.request_policy import Refusal


class OrphanAction(models.TextChoices):
    """What a user can request for an orphaned object."""

    DELETE = "delete", "Delete"
    RELEASE = "release", "Release"


class Orphan(models.Model):
    """An object that belongs to no project, or a record whose object is missing. The inventory writes these rows."""

    kind = models.CharField(max_length=60)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64, blank=True)
    # The project in its label, if this panel knows it.
    project = models.ForeignKey("projects.Project", models.CASCADE, null=True, related_name="orphans")
    labelled_as = models.CharField(max_length=63, blank=True)
    # Why it is orphaned, and what can be done.
    explanation = models.TextField()
    is_vanished = models.BooleanField(default=False)
    is_foreign = models.BooleanField(default=False)
    is_deletable = models.BooleanField(default=False)
    is_releasable = models.BooleanField(default=False)
    created_at = models.DateTimeField("created", null=True)
    seen_at = models.DateTimeField()
    # What was requested and isn't done yet, who requested it, and the error of the last attempt.
    requested_action = models.CharField(max_length=10, blank=True, choices=OrphanAction.choices)
    requested_by = models.CharField(max_length=150, blank=True)
    trouble = models.TextField(blank=True)

    class Meta:
        verbose_name = "orphaned object"
        ordering = ["namespace", "kind", "name"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["namespace", "kind", "name"], name="one_row_an_orphan")]

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    def find_refusal(self, action: OrphanAction, *, is_sure: bool) -> Refusal | None:
        """Return why this can't be requested; None if it can. `is_sure`: the user says that no other panel owns it."""
        if self.is_vanished:
            return Refusal(
                "Missing", f"{self} is missing in the cluster. Open its project to retry, delete or forget it."
            )
        if not self.is_deletable and not self.is_releasable:
            return Refusal(
                "NotCreatedByPanel",
                f"The panel did not create {self}, so it can't delete it. Remove the project's label, or delete the "
                "object yourself.",
            )
        if action is OrphanAction.DELETE and not self.is_deletable:
            return Refusal(
                "Adopted",
                f"{self} was adopted, so the panel can't delete it. Release it instead to remove the panel's labels.",
            )
        if action is OrphanAction.RELEASE and not self.is_releasable:
            return Refusal("NotReleasable", f"Only Clusters can be released. Delete {self} instead.")
        if self.is_foreign and not is_sure:
            return Refusal(
                "ConfirmationNeeded",
                f"{self} has the label of a project that this panel doesn't know, so another panel may own it. Check "
                "there first, then confirm that no other panel owns it.",
            )
        return None
