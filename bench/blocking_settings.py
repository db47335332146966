"""The panel's settings for tasks that wait inside a worker: `timeout` above the longest wait, `retry` above that."""

from controlpanel.settings import *  # noqa: F403
from controlpanel.settings import Q_CLUSTER

Q_CLUSTER = {**Q_CLUSTER, "timeout": 200, "retry": 100_000, "queue_limit": 2, "save_limit": 0}
