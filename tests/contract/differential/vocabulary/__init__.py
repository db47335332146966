"""The kinds of the differential test, each with a valid object and with values for its fields, right and wrong ones."""

from tests.contract.differential.vocabulary.core import CORE_KINDS
from tests.contract.differential.vocabulary.custom import CUSTOM_KINDS
from tests.contract.differential.vocabulary.fields import Field, Kind
from tests.contract.differential.vocabulary.storage import STORAGE_KINDS
from tests.contract.differential.vocabulary.workloads import WORKLOAD_KINDS

KINDS: dict[str, Kind] = {kind.plural: kind for kind in (*CORE_KINDS, *STORAGE_KINDS, *WORKLOAD_KINDS, *CUSTOM_KINDS)}

SUBJECTS = (
    "configmaps",
    "secrets",
    "serviceaccounts",
    "services",
    "persistentvolumeclaims",
    "networkpolicies",
    "roles",
    "resourcequotas",
    "statefulsets",
    "clusters",
    "opsrequests",
    "backups",
)
"""Kinds that sequences are about. The others appear as companions only."""

__all__ = ["KINDS", "SUBJECTS", "Field", "Kind"]
