"""System checks of the settings."""

from provisioning.checks import check_queue


def test_retry_shorter_than_a_task_is_an_error(settings):
    assert check_queue() == []
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "retry": settings.Q_CLUSTER["timeout"]}
    (error,) = check_queue()
    assert error.id == "provisioning.E001"
