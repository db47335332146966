"""Settings for tasks that block a worker: `timeout` exceeds the longest wait, and `retry` exceeds `timeout`."""

from controlpanel.settings import *  # noqa: F403
from controlpanel.settings import Q_CLUSTER

Q_CLUSTER = {**Q_CLUSTER, "timeout": 200, "retry": 100_000, "queue_limit": 2, "save_limit": 0}
