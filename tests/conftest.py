"""Settings of every test: no network, one thread of torch (several contend with Ray's processes on a small machine).

Two processes run the suite: what waits for Ray beside what computes. Tests of a file stay together, and so do all those
of the pipeline, for they share costly fixtures; the longest go first.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

torch.set_num_threads(1)

_FIRST = ("tests/pipeline/", "tests/jobs/test_train_")


def _rank(item: pytest.Item) -> int:
    return next((i for i, name in enumerate(_FIRST) if item.nodeid.startswith(name)), len(_FIRST))


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)
    for item in items:
        group = _FIRST[0] if _rank(item) == 0 else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
