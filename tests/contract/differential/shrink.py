"""Greedy reduction of a sequence that shows a difference: fewer steps, then smaller bodies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.contract.differential.generator import paths_of
from tests.contract.differential.servers import Difference
from tests.contract.differential.steps import GONE, Step, edit

MOST_TRIES = 150


def shrink(
    steps: Sequence[Step], difference: Difference, run: Callable[[Sequence[Step]], Difference | None]
) -> tuple[list[Step], Difference]:
    """Return the smallest sequence found that shows a difference with the same signature."""
    best, shown = list(steps[: difference.index + 1]), difference
    tries = 0

    def is_kept(candidate: list[Step]) -> bool:
        nonlocal best, shown, tries
        tries += 1
        found = run(candidate)
        if found is None or found.signature != difference.signature:
            return False
        best, shown = candidate[: found.index + 1], found
        return True

    index = len(best) - 2
    while index >= 0 and tries < MOST_TRIES:
        if index < len(best) - 1:
            is_kept(best[:index] + best[index + 1 :])
        index -= 1
    for index in range(len(best) - 1, -1, -1):
        position = 0
        while index < len(best) and tries < MOST_TRIES:
            smaller = _smaller(best[index])
            if position >= len(smaller):
                break
            if not is_kept([*best[:index], smaller[position], *best[index + 1 :]]):
                position += 1
    return best, shown


def _smaller(step: Step) -> list[Step]:
    """Return variants of a step with one thing less, large things first."""
    found = [replace(step, params={k: v for k, v in step.params.items() if k != name}) for name in step.params]
    if isinstance(step.body, list):
        return found + [replace(step, body=step.body[:i] + step.body[i + 1 :]) for i in range(len(step.body))]
    for path in sorted(paths_of(step.body), key=lambda path: path.count("/")):
        if path in {"apiVersion", "kind", "metadata", "metadata/name"}:
            continue
        body = copy.deepcopy(step.body)
        edit(body, path, GONE)
        found.append(replace(step, body=body))
    return found
