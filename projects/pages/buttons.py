"""The buttons of a project: which of its requests the user can make now."""

from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from projects.domain.permissions import Person, may, may_adopt
from projects.domain.request_policy import Request, is_allowed
from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Project
from projects.pages.presentation import is_progressing


@dataclass(frozen=True, slots=True)
class Button:
    """A button: the URL name of its request, its label and icon, whether it is the main one, and whether it opens a
    confirmation page."""

    name: str
    label: str
    icon: str
    is_primary: bool = False
    asks_first: bool = False


PROVISION = Button("provision", "Provision", "play_arrow", is_primary=True)
ADOPT = Button("provision", "Adopt", "add_link", is_primary=True)
CHECK = Button("provision", "Check again", "refresh")
RETRY = Button("retry", "Retry", "refresh")
RETRY_FAILED = Button("retry", "Retry", "refresh", is_primary=True)
CANCEL = Button("cancel", "Cancel provisioning", "undo")
VERIFY = Button("verify", "Verify", "verified_user")
RESTORE_SECRET = Button("restore_secret", "Write the password back", "settings_backup_restore", asks_first=True)
USE_SECRET = Button("use_secret", "Use the Secret's password", "key", asks_first=True)
DELETE = Button("delete", "Delete", "delete", asks_first=True)
FORGET = Button("forget", "Forget", "link_off", asks_first=True)


def available_buttons(project: Project, user: Person) -> list[Button]:
    """Return the buttons that the project's state allows and that the user has the permission for."""
    buttons: list[Button] = []
    is_on_time = is_progressing(project, timezone.now())
    if may(user, "provision_project", project):
        if project.desired_state == DesiredState.RUNNING and project.phase == Phase.RUNNING:
            buttons += [CHECK] if is_allowed(Request.PROVISION, project) else []
        elif project.reason == Reason.ADOPTION_NEEDED and may_adopt(user) and is_allowed(Request.PROVISION, project):
            buttons += [ADOPT, RETRY]
        elif is_allowed(Request.RETRY, project):
            if not is_on_time:
                buttons.append(RETRY_FAILED if project.phase == Phase.FAILED else RETRY)
        elif is_allowed(Request.PROVISION, project):
            buttons.append(PROVISION)
        if not project.is_cancelling and is_allowed(Request.CANCEL, project):
            buttons.append(CANCEL)
    if may(user, "delete_project", project):
        if project.desired_state != DesiredState.DELETED and is_allowed(Request.DELETE, project):
            buttons.append(DELETE)
        if not is_on_time and is_allowed(Request.FORGET, project):
            buttons.append(FORGET)
    return buttons


def credential_buttons(project: Project, user: Person) -> list[Button]:
    """Return the buttons beside the database's connection: those that its state allows and that the user has the
    permission for."""
    if not may(user, "provision_project", project):
        return []
    offered = ((Request.VERIFY, VERIFY), (Request.RESTORE_SECRET, RESTORE_SECRET), (Request.USE_SECRET, USE_SECRET))
    return [
        button
        for request, button in offered
        if is_allowed(request, project) and (request is not Request.VERIFY or settings.VERIFY_CONNECTIONS)
    ]
