"""Runs that kill and stop the panel's processes: `python -m tests.faults.processes --runs N --seed S`.

One panel under its supervisor and one embedded cluster, with real databases, serve all runs. Each run brings a project
to a step of its life, strikes a process there, and waits until everything has settled. Prints one line for each
violation, then one line of JSON with the kinds and numbers.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.stage import Stage, await_true, staged
from tests.faults.strikes import KINDS, ON_POSTGRES, RARE

# A hanging queue is noticed after 30 s, a lost task after 20 s, and the lease of a dead pass lasts 45 s.
_SETTLED_WITHIN_S = 120.0
# Concurrent runs: most of a run is waiting until a killed process is noticed.
_AT_A_TIME = 40
# One waiting, and those lost with killed processes: django-q delivers them again minutes later.
_MOST_TASKS = 8


def _play(stage: Stage, numbers: range, names: list[str], seed: int) -> None:
    """Play some runs at a time, with one project and one strike each. All of them go through all the strikes, and are
    checked afterwards.
    """
    from projects.models import Project
    from projects.services.provisioning import add_project, request_delete
    from tests.faults.evidence import find_wrong_passwords
    from tests.faults.moments import AT_REST, STEPS, Life, is_at_rest, read_step

    before = len(stage.violations)
    # Shifted in each round, so that every kind strikes at every step.
    steps = [STEPS[(number + number // len(KINDS)) % len(STEPS)] for number in numbers]
    lives = [
        Life(add_project(f"p{number}", actor="ann"), step, stage.rng)
        for number, step in zip(numbers, steps, strict=True)
    ]
    for life in lives:
        life.prepare()
    for life, name in zip(lives, names, strict=True):
        stage.struck_beside.update(step for step in (read_step(one.project.pk) for one in lives) if step != AT_REST)
        life.go_there()
        # Nothing is requested in between: short steps would be over.
        stage.struck[read_step(life.project.pk)] += 1
        KINDS[name](stage)
        if stage.is_found_out:
            return
    pks = [life.project.pk for life in lives]
    if not await_true(lambda: all(map(is_at_rest, Project.objects.filter(pk__in=pks))), _SETTLED_WITHIN_S):
        left = "; ".join(_tell(row) for row in Project.objects.filter(pk__in=pks) if not is_at_rest(row))
        stage.violations.append(f"Not everything has come to rest within {_SETTLED_WITHIN_S:.0f} s: {left}")
    stage.cluster.faults.clear()
    _check(stage, pks)
    stage.violations += find_wrong_passwords(pks)
    _keep_evidence(stage, before)
    for life in lives:
        request_delete(life.project, actor="bob")
    told = f"runs {numbers.start} to {numbers.stop - 1} ({', '.join(names)}), seed {seed}"
    stage.violations[before:] = [f"{told}: {one}" for one in stage.violations[before:]]


def _tell(row: Any) -> str:
    """Describe what a project that has not settled waits for, and until when."""
    from django.utils import timezone

    now = timezone.now()
    ages = {
        name: round((at - now).total_seconds())
        for name in ("queued_at", "lease_until", "next_pass_at")
        if (at := getattr(row, name)) is not None
    }
    return f"{row.name}: {row.phase}, {row.message} ({row.failures} failures; seconds from now: {ages})"


def _check(stage: Stage, pks: list[int]) -> None:
    """Compare these projects with the cluster. Others may still change."""
    from tests.faults.evidence import gather
    from tests.faults.invariants import check_settled
    from tests.faults.operator import password_of

    evidence = gather(_api(stage).list_while_busy)
    evidence.projects = [project for project in evidence.projects if project.pk in pks]
    uids = {str(project.uid) for project in evidence.projects}
    for plural, items in evidence.objects.items():
        evidence.objects[plural] = [item for item in items if _owner(item) in uids or not _owner(item)]
    stage.passwords |= {
        password for item in evidence.objects["secrets"] if (password := password_of(item)) and len(password) > 8
    }
    stage.were_ready |= {
        item["metadata"]["name"]
        for item in evidence.objects["statefulsets"]
        if (item.get("status") or {}).get("readyReplicas")
    }
    evidence.passwords, evidence.were_ready, evidence.most_tasks = stage.passwords, stage.were_ready, _MOST_TASKS
    stage.violations += check_settled(evidence)


def _api(stage: Stage) -> Any:
    from tests.faults.api import Api
    from tests.support.standin_api import administrator_of

    return Api(administrator_of(stage.cluster).access, stage.cluster.server.store, "default")


def _keep_evidence(stage: Stage, before: int) -> None:
    """Keep what led to the violations after the first `before` of them."""
    from tests.faults.evidence import PATHS
    from tests.faults.report import keep

    if stage.report is not None and len(stage.violations) > before:
        api = _api(stage)
        objects = [item for plural in PATHS for item in api.list_while_busy(plural)]
        keep(stage.report, stage.violations[before:], objects, stage.said)


def _owner(item: Any) -> str:
    label = "controlpanel.fullstackagent.io/project-id"
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _check_end(stage: Stage) -> None:
    """After everything was deleted, check that no object is left, and no password anywhere."""
    from projects.domain.states import Phase
    from projects.models import Project
    from tests.faults.evidence import read_database

    before = len(stage.violations)
    if not await_true(lambda: not Project.objects.exclude(phase=Phase.DELETED).exists(), _SETTLED_WITHIN_S):
        left = list(Project.objects.exclude(phase=Phase.DELETED).values_list("name", "phase", "message"))
        stage.violations.append(f"At the end, not everything is deleted: {left}")
    _check(stage, list(Project.objects.values_list("pk", flat=True)))
    logs = [path for path in stage.directory.rglob("*.log*") if path.is_file()]
    texts = read_database() | {path.name: path.read_text(errors="replace") for path in logs}
    for where, text in texts.items():
        if any(password in text for password in stage.passwords):
            stage.violations.append(f"There is a password in {where}.")
    _keep_evidence(stage, before)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.processes", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="KIND")
    parser.add_argument("--planted", default="", metavar="BUG", help="a bug of bugs.py: ends when it is noticed")
    parser.add_argument("--report", type=Path, help="a file that keeps the evidence of violations")
    options = parser.parse_args()
    started_at_s = time.monotonic()
    names = options.only or [name for name in KINDS if name not in (*RARE, ON_POSTGRES)]
    is_on_postgres = ON_POSTGRES in names
    with staged(options.seed, is_on_postgres=is_on_postgres, planted=options.planted) as stage:
        stage.report = options.report
        plan = [names[number % len(names)] for number in range(options.runs)]
        if not options.only:
            plan[-1:] = RARE
        for first in range(0, len(plan), _AT_A_TIME):
            some = plan[first : first + _AT_A_TIME]
            _play(stage, range(first, first + len(some)), some, options.seed)
        if not stage.is_found_out:
            _check_end(stage)
        stage.said_in_the_end = stage.said
    from tests.faults.moments import missed_steps  # Django has its settings only now

    stage.violations += missed_steps(stage.struck, len(plan))
    for sentence in stage.violations:
        sys.stdout.write(sentence + "\n")
    hung = stage.said_in_the_end.count("have been silent")
    told = {"hung": hung, "kinds": sorted(set(plan)), "runs": len(plan), "violations": len(stage.violations)}
    told |= {"slowest_mend_s": round(stage.slowest_mend_s, 1), "seconds": round(time.monotonic() - started_at_s)}
    told |= {"struck": dict(stage.struck), "struck_beside": dict(stage.struck_beside)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if stage.violations else 0


if __name__ == "__main__":
    sys.exit(main())
