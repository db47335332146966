"""Runs random sequences on the embedded API server and a real one, and prints each kind of difference, shrunk.

Run it as `make compare-servers ARGS='--sequences 2000 --seed 1'`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.contract.controlplane import ControlPlane
from tests.contract.differential.generator import sequence
from tests.contract.differential.servers import Difference, Pair, StuckError, replay
from tests.contract.differential.shrink import shrink
from tests.contract.differential.steps import Step, from_json, to_json
from tests.contract.differential.vocabulary import KINDS, SUBJECTS
from tests.support.api_server import running
from tests.support.rest import Access, Rest

RECORDED = Path(__file__).with_name("recorded.json")
NAMESPACES = tuple(f"differential-{number}" for number in range(8))
CONTROLLERS = (
    "garbage-collector-controller", "namespace-controller", "resourcequota-controller",
    "root-ca-certificate-publisher-controller", "serviceaccount-controller",
    "persistentvolumeclaim-protection-controller",
)  # fmt: skip
"""Those whose work the embedded API server does itself. Controllers of workloads would change objects meanwhile."""


@contextmanager
def open_pair(assets: Path) -> Iterator[Pair]:
    """Start both servers, with namespaces."""
    with (
        tempfile.TemporaryDirectory(prefix="differential-") as directory,
        ControlPlane(assets, CONTROLLERS) as plane,
        running(Path(directory), crd_dir=Path(directory)) as embedded,
    ):
        real = Rest(Access(plane.url, token=plane.admin_token, ca_file=str(plane.ca_file)))
        try:
            pair = Pair(Rest(embedded.access), real)
            pair.prepare(NAMESPACES)
            yield pair
        finally:
            real.close()


def compare(
    pair: Pair, seed: int, numbers: Sequence[int], plurals: Sequence[str], *, most: int, deadline_s: float
) -> Counter[tuple[str, ...]]:
    """Run sequences and print the first difference of each kind. Return how often each kind was found."""
    found: Counter[tuple[str, ...]] = Counter()
    started, requests, ran = time.monotonic(), 0, 0
    for number in numbers:
        steps = sequence(seed, number, plurals)
        try:
            count, difference, _ = pair.run(steps)
        except StuckError as error:
            found["stuck", str(error)] += 1
            _say(f"## sequence {number}: {error}")
            continue
        requests += count
        ran += 1
        if ran % 100 == 0:
            sys.stderr.write(f"{ran} sequences, {requests} requests, {time.monotonic() - started:.0f} s\n")
        if difference is not None:
            found[difference.signature] += 1
            if found[difference.signature] == 1:
                _report(pair, number, steps, difference)
        if len(found) >= most or time.monotonic() - started > deadline_s:
            break
    seconds = time.monotonic() - started
    _say(f"{ran} sequences, {requests} requests, {seconds:.0f} s: {len(found)} kinds of difference (seed {seed})")
    return found


def record(rest: Rest) -> None:
    """Write what a server answers to the saved sequences into their file."""
    saved = json.loads(RECORDED.read_text())
    for one in saved:
        one["answers"] = replay(rest, NAMESPACES[0], from_json(one["steps"]))
    RECORDED.write_text(json.dumps(saved, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _report(pair: Pair, number: int, steps: list[Step], difference: Difference) -> None:
    def again(candidate: Sequence[Step]) -> Difference | None:
        try:
            return pair.run(candidate)[1]
        except StuckError:
            return None

    steps, difference = shrink(steps, difference, again)
    _say(f"## sequence {number}: {' '.join(difference.signature)}")
    for step in steps:
        _say(f"  {step.describe()}")
    for text in difference.texts:
        _say(f"    {text}")
    _say(f"  as JSON: {json.dumps(to_json(steps), ensure_ascii=False)}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the embedded API server with a real one.")
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--start", type=int, default=0, help="number of the first sequence")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=list(SUBJECTS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--most", type=int, default=20, help="stop after so many kinds of difference")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after this time")
    parser.add_argument("--record", action="store_true", help="only record the real answers to the saved sequences")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    numbers = range(options.start, options.start + options.sequences)
    with open_pair(Path(os.environ["KUBEBUILDER_ASSETS"])) as pair:
        if options.record:
            record(pair.real)
            return 0
        found = compare(pair, options.seed, numbers, options.kinds, most=options.most, deadline_s=options.seconds)
    for signature, count in found.most_common():
        _say(f"{count:5} {' '.join(signature)}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
