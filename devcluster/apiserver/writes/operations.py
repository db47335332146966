"""Create, read, update and patch objects, as the generic registry of Kubernetes does."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema import decoding, defaults
from devcluster.apiserver.schema.resources import Registry, ResourceType
from devcluster.apiserver.storage.records import Record
from devcluster.apiserver.storage.store import Store
from devcluster.apiserver.validation import validate
from devcluster.apiserver.writes import admission, ownership, quota, scale, warnings
from devcluster.apiserver.writes.deletion import Lifecycle
from devcluster.apiserver.writes.objects import generate_name, is_same, match_namespace, metadata_of, now_text, present
from devcluster.apiserver.writes.options import Patch, Target, WriteOptions
from devcluster.apiserver.writes.patching import json_patch, merge_patch
from devcluster.apiserver.writes.strategic_merge import strategic_merge
from devcluster.apiserver.writes.update_merge import merge_for_update


@dataclass(frozen=True, slots=True)
class Written:
    body: JsonObject
    created: bool = False


class Operations:
    """Writes to the store. Methods are synchronous: a write is one turn of the event loop."""

    def __init__(self, store: Store, registry: Registry, lifecycle: Lifecycle) -> None:
        self.store = store
        self.registry = registry
        self.lifecycle = lifecycle
        self.addresses = admission.ServiceAddresses(store)
        lifecycle.create_in_namespace = self._create_in_namespace

    # Reading

    def find(self, target: Target) -> Record:
        record = self.store.get(target.kind.table, target.namespace, target.name)
        if record is None:
            raise errors.not_found(target.kind.group, target.kind.plural, target.name)
        return record

    def read(self, target: Target) -> JsonObject:
        return present(self.find(target).parse(), target.kind)

    # Writing

    def create(
        self,
        kind: ResourceType,
        namespace: str,
        body: JsonObject,
        options: WriteOptions,
        name: str = "",
        *,
        applied: bool = False,
    ) -> Written:
        """Create an object. `name` is the name in the URL of a PUT or an apply.

        `applied`: the body is the result of an apply, with its managedFields.
        """
        admission.check_type(body, kind)
        metadata = metadata_of(body, kind)
        match_namespace(metadata, kind, namespace)
        if name and metadata.get("name", "") not in ("", name):
            raise errors.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if metadata.get("resourceVersion") not in (None, ""):
            raise errors.failure(500, "resourceVersion should not be set on objects to be created")
        manual_name = name or metadata.get("name") or ""
        generate = metadata.get("generateName") or ""
        tries = 8 if generate and not manual_name else 1
        metadata["name"] = manual_name or generate_name(generate)
        if namespace or kind.namespaced:
            self.lifecycle.check_namespace(kind, namespace, metadata["name"])
        body = self._prepare_create(kind, body, options, applied=applied)
        for _ in range(tries - 1):
            if self.store.get(kind.table, namespace, body["metadata"]["name"]) is None:
                break
            body["metadata"]["name"] = generate_name(generate)
        metadata = body["metadata"]
        charges = quota.check(self.store, kind, body)
        existing = self.store.get(kind.table, namespace, metadata["name"])
        if existing is not None:
            error = errors.already_exists(kind.group, kind.plural, metadata["name"])
            if existing.deleting:
                error.message = f"object is being deleted: {error.message}"
            raise error
        self.addresses.allocate(kind, body)
        if options.dry_run:
            return Written(body, created=True)
        self._put(kind, body)
        self._record_charges(charges)
        if kind.table == "namespaces":
            self.lifecycle.populate_namespace(metadata["name"])
        return Written(body, created=True)

    def _create_in_namespace(self, plural: str, namespace: str, body: JsonObject) -> None:
        """Create an object of a namespace unless it exists, as the controller manager does."""
        kind = self.registry.find("", "v1", plural)
        if kind is None or self.store.get(plural, namespace, body["metadata"]["name"]) is not None:
            return
        self.create(kind, namespace, body, WriteOptions("system:kube-controller-manager", "kube-controller-manager"))

    def _prepare_create(
        self, kind: ResourceType, body: JsonObject, options: WriteOptions, *, applied: bool
    ) -> JsonObject:
        """Return the object to store. What the server itself sets below has no owner in managedFields."""
        metadata = body["metadata"]
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
            metadata.pop(name, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = now_text()
        if kind.has_generation:
            metadata["generation"] = 1
        body = admission.decode_merged(body, kind) if applied else admission.decode(body, kind, options)
        defaults.fill_defaults(kind, body)
        if not applied:
            ownership.record_update(ownership.empty_object(kind), body, kind, _manager(kind, "", options))
        defaults.reset_for_create(kind, body)
        admission.fill_from_others(kind, body, self.store)
        causes = validate.validate_create(kind, body)
        if causes:
            raise errors.invalid(kind.group, kind.kind, body["metadata"].get("name", ""), causes)
        options.warnings.extend(warnings.advise(kind, body))
        return decoding.omit_empty(body, kind.node) if kind.builtin else body

    def update(self, target: Target, body: JsonObject, options: WriteOptions) -> Written:
        kind = target.kind
        admission.check_type(body, kind)
        metadata = metadata_of(body, kind)
        match_namespace(metadata, kind, target.namespace)
        _check_name(metadata, target)
        record = self.store.get(kind.table, target.namespace, target.name)
        if record is None:
            if kind.creates_on_update and not target.subresource:
                metadata.pop("resourceVersion", None)
                return self.create(kind, target.namespace, body, options, name=target.name)
            raise errors.not_found(kind.group, kind.plural, target.name)
        body = admission.decode(body, kind, options)
        return self._replace(target, record, body, options)

    def update_scale(self, target: Target, record: Record, body: JsonObject, options: WriteOptions) -> Written:
        """Replace the scale of a workload."""
        admission.check_type(body, scale.SCALE)
        metadata = metadata_of(body, scale.SCALE)
        match_namespace(metadata, scale.SCALE, target.namespace)
        _check_name(metadata, target)
        return self._scale(target, record, admission.decode(body, scale.SCALE, options), options)

    def patch_scale(self, target: Target, record: Record, patch: Patch, options: WriteOptions) -> Written:
        """Patch the scale of a workload. An apply counts as a merge patch."""
        live = scale.owned_scale_of(present(record.parse(), target.kind))
        is_list = patch.media_type == "application/json-patch+json"
        changed = json_patch(live, patch.body) if is_list else merge_patch(live, patch.body)
        admission.check_patched(changed, live, scale.SCALE)
        changed = admission.decode_patched(changed, scale.SCALE, options, patch.body, strategic=False)
        return self._scale(target, record, changed, options, patched=True)

    def _scale(
        self, target: Target, record: Record, changed: JsonObject, options: WriteOptions, *, patched: bool = False
    ) -> Written:
        live = present(record.parse(), target.kind)
        changed.setdefault("spec", {})
        manager = _manager(scale.SCALE, "scale", options)
        ownership.record_update(scale.owned_scale_of(live), changed, scale.SCALE, manager)
        scale.check_scale(target.kind, changed, live)
        return self._replace(target, record, scale.scaled(live, changed), options, patched=patched, applied=True)

    def patch(self, target: Target, patch: Patch, options: WriteOptions) -> Written:
        kind = target.kind
        record = self.store.get(kind.table, target.namespace, target.name)
        if patch.media_type == "application/apply-patch+yaml":
            return self._apply(target, record, patch.body, options)
        if record is None:
            raise errors.not_found(kind.group, kind.plural, target.name)
        live = present(record.parse(), kind)
        match patch.media_type:
            case "application/json-patch+json":
                changed = json_patch(live, patch.body)
            case "application/merge-patch+json":
                changed = merge_patch(live, patch.body)
            case _:
                changed = strategic_merge(live, patch.body, kind.node)
        admission.check_patched(changed, live, kind)
        strategic = patch.media_type == "application/strategic-merge-patch+json"
        changed = admission.decode_patched(changed, kind, options, patch.body, strategic=strategic)
        return self._replace(target, record, changed, options, patched=True)

    def _apply(self, target: Target, record: Record | None, config: JsonObject, options: WriteOptions) -> Written:
        kind = target.kind
        admission.check_apply(config, target.name, target.namespace, kind)
        if record is None and target.subresource and not kind.creates_on_update:
            raise errors.not_found(kind.group, kind.plural, target.name)
        live = None if record is None else present(record.parse(), kind)
        uid = config.get("metadata", {}).get("uid")
        if live is None and uid:
            raise errors.conflict(
                kind.group,
                kind.plural,
                target.name,
                f"uid mismatch: the provided object specified uid {uid}, and no existing object was found",
            )
        admission.check_applied_types(config, kind)
        config_metadata = config.setdefault("metadata", {})
        config_metadata.setdefault("name", target.name)
        if kind.namespaced:
            config_metadata.setdefault("namespace", target.namespace)
        version = config_metadata.get("resourceVersion")
        merged = ownership.apply_configuration(
            live,
            config,
            kind.node,
            _manager(kind, target.subresource, options, options.explicit_manager),
            empty=ownership.empty_object(kind),
            force=options.force,
        )
        if record is None or live is None:
            merged["apiVersion"], merged["kind"] = kind.api_version, kind.kind
            return self.create(kind, target.namespace, merged, options, name=target.name, applied=True)
        merged["metadata"]["resourceVersion"] = version or live["metadata"]["resourceVersion"]
        return self._replace(target, record, merged, options, patched=True, applied=True)

    def _replace(
        self,
        target: Target,
        record: Record,
        body: JsonObject,
        options: WriteOptions,
        *,
        patched: bool = False,
        applied: bool = False,
    ) -> Written:
        """Replace `record` by `body`. Both are complete objects of the same API version."""
        kind = target.kind
        live = present(record.parse(), kind)
        old, new = live["metadata"], metadata_of(body, kind)
        self._check_preconditions(target, old, new, patched=patched)
        if applied:
            body = admission.decode_merged(body, kind)
        defaults.fill_defaults(kind, body)
        if not applied:
            ownership.record_update(live, body, kind, _manager(kind, target.subresource, options))
        changed = merge_for_update(kind, live, body, target.subresource)
        metadata = changed["metadata"]
        for name in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "selfLink",
        ):
            metadata.pop(name, None)
            if name in old:
                metadata[name] = old[name]
        metadata["resourceVersion"] = old["resourceVersion"]
        if kind.table == "services" and kind.builtin:
            defaults.fill_service_addresses(changed["spec"])
            self.addresses.allocate_ports(changed["spec"])
        decoding.drop_empty_metadata(metadata)
        if kind.ignores_empty:
            changed = decoding.omit_empty(changed, kind.node)
        self._set_generation(target, live, changed)
        causes = validate.validate_update(kind, changed, live, target.subresource)
        if causes:
            raise errors.invalid(kind.group, kind.kind, target.name, causes)
        if not target.subresource:
            admission.check_expansion(kind, changed, live, self.store)
        charges = quota.check(self.store, kind, changed, live, target.subresource)
        if kind.builtin:
            changed = decoding.omit_empty(changed, kind.node)
        metadata = changed["metadata"]
        if is_same(changed, live):
            return Written(live)
        if options.dry_run:
            return Written(changed)
        if "deletionTimestamp" in metadata and self.lifecycle.is_released(kind, changed):
            return Written(self.lifecycle.finish_deletion(record, changed))
        self._put(kind, changed)
        self._record_charges(charges)
        return Written(changed)

    def _check_preconditions(self, target: Target, old: JsonObject, new: JsonObject, *, patched: bool) -> None:
        """Check uid, deletionTimestamp and resourceVersion of an update against the stored object."""
        kind, name = target.kind, target.name
        uid = new.get("uid")
        if patched:
            causes = [
                errors.cause_invalid(f"metadata.{field}", new[field], "field is immutable")
                for field in ("uid", "deletionTimestamp")
                if new.get(field) and new[field] != old.get(field)
            ]
            if causes:
                raise errors.invalid(kind.group, kind.kind, name, [*causes, *causes])
        elif uid and uid != old["uid"]:
            place = f"{target.namespace}/{name}" if target.namespace else name
            raise errors.conflict(
                kind.group,
                kind.plural,
                name,
                f"StorageError: invalid object, Code: 4, Key: /registry/{kind.plural}/{place}, ResourceVersion: 0, "
                f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: "
                f"{old['uid']}",
            )
        elif new.get("deletionTimestamp") and new["deletionTimestamp"] != old.get("deletionTimestamp"):
            cause = errors.cause_invalid("metadata.deletionTimestamp", new["deletionTimestamp"], "field is immutable")
            raise errors.invalid(kind.group, kind.kind, name, [cause, cause])
        version = new.get("resourceVersion")
        if not version:
            if not patched and not kind.builtin:
                raise errors.invalid(
                    kind.group,
                    kind.plural,
                    name,
                    [errors.cause_invalid("metadata.resourceVersion", 0, "must be specified for an update")],
                )
            return
        if not version.isdigit():
            raise errors.failure(500, f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if version != old["resourceVersion"]:
            raise errors.conflict(kind.group, kind.plural, name, errors.STALE_WRITE)

    def _set_generation(self, target: Target, live: JsonObject, changed: JsonObject) -> None:
        kind = target.kind
        if not kind.has_generation:
            return
        generation = live["metadata"].get("generation", 1)
        is_changed = admission.intent_of(live) != admission.intent_of(changed)
        if kind.table == "deployments.apps" and not target.subresource:
            is_changed |= live["metadata"].get("annotations") != changed["metadata"].get("annotations")
        if is_changed:
            generation += 1
        changed["metadata"]["generation"] = generation

    def _record_charges(self, charges: list[quota.Charge]) -> None:
        for charge in charges:
            record = self.store.get(*charge.quota)
            if record is not None:
                status = {**(record.parse().get("status") or {}), "used": charge.used}
                self.write_quota_status(record, status, WriteOptions("system:apiserver", "kube-apiserver"))

    def write_quota_status(self, record: Record, status: JsonObject, options: WriteOptions) -> None:
        """Replace the status of a ResourceQuota."""
        kind = self.registry.find("", "v1", quota.QUOTAS)
        if kind is not None:
            body = {**present(record.parse(), kind), "status": status}
            self.update(Target(kind, record.namespace, record.name, "status"), body, options)

    def _put(self, kind: ResourceType, body: JsonObject) -> None:
        if body["apiVersion"] != kind.api_version or kind.storage_version != kind.version:
            stored = copy.copy(body)
            stored["apiVersion"] = f"{kind.group}/{kind.storage_version}" if kind.group else kind.storage_version
            self.store.put(kind.table, stored)
        else:
            self.store.put(kind.table, body)
        self.lifecycle.note_written(kind, body)


def _check_name(metadata: JsonObject, target: Target) -> None:
    """Raise ApiError 400 unless the metadata has the name of the URL."""
    if metadata.get("name", "") == "":
        raise errors.bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        )
    if metadata["name"] != target.name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
        )


def _manager(kind: ResourceType, subresource: str, options: WriteOptions, name: str = "") -> ownership.Manager:
    """Return the manager of a write; `name` replaces the one of its options."""
    reset = ownership.reset_fields(kind, subresource)
    return ownership.Manager(name or options.field_manager, kind.api_version, subresource, now_text(), reset)
