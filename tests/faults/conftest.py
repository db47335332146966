"""One API server for all fault runs, and a factory of runs."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.kinds import all_kinds
from tests.faults.run import Run
from tests.support.api_server import ServerApi, running

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def fault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerApi]:
    with running(tmp_path_factory.mktemp("faults") / "api") as server:
        yield server


@pytest.fixture
def make_run(transactional_db, fault_server: ServerApi, tmp_path: Path) -> Callable[[str, int], Run]:
    """Return a function that creates the run of a kind and a seed."""

    def make(kind: str, seed: int) -> Run:
        return Run(all_kinds()[kind], seed, fault_server, tmp_path, number=next(_numbers))

    return make
