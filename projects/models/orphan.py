"""Objects with the panel's labels that belong to no project, and records whose objects are missing, as of the last
inventory."""

from django.db import models


class OrphanWish(models.TextChoices):
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
    # A request that isn't done yet, and the error of the last one.
    wish = models.CharField(max_length=10, blank=True, choices=OrphanWish.choices)
    wished_by = models.CharField(max_length=150, blank=True)
    trouble = models.TextField(blank=True)

    class Meta:
        verbose_name = "orphaned object"
        ordering = ["namespace", "kind", "name"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["namespace", "kind", "name"], name="one_row_an_orphan")]

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    def explain_refusal(self, wish: OrphanWish, *, is_sure: bool) -> str:
        """Return why this can't be requested; "" if it can. `is_sure`: the user says that no other panel owns it."""
        if self.is_vanished:
            return f"{self} is not there. Its project's page says what can be done: Retry, Delete or Forget."
        if not self.is_deletable and not self.is_releasable:
            return f"The panel did not make {self}, and never deletes it. Take the project's label off, or delete it."
        if wish is OrphanWish.DELETE and not self.is_deletable:
            return f"{self} was adopted, so the panel never deletes it. Release it: only the panel's labels go."
        if wish is OrphanWish.RELEASE and not self.is_releasable:
            return f"Only Clusters are released; {self} can be deleted."
        if self.is_foreign and not is_sure:
            return (
                f"{self} has the label of a project that this panel does not know: another panel's? Look there first, "
                "then say that you are sure that no other panel has it."
            )
        return ""
