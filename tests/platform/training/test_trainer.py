"""Resources that a run needs, devices on which it may resume, and losses averaged over workers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mosar.errors import ConfigError
from mosar.platform.runs import run
from mosar.platform.training import resources
from mosar.platform.training.train_config import TrainConfig


def config(**changes: object) -> TrainConfig:
    return TrainConfig(steps=1, batch=12, **changes)  # type: ignore[arg-type]


def test_each_worker_takes_a_gpu_if_the_cluster_has_any() -> None:
    two = config(workers=2, readers=4)
    assert resources.size(two, 0) == {"CPU": 4.0}
    assert resources.size(two, 8) == {"CPU": 4.0, "GPU": 2.0}
    assert resources.size(config(workers=2, device="cpu"), 8) == {"CPU": 2.5}


@pytest.mark.parametrize(("given", "gpus"), [({"workers": 2}, 1), ({"workers": 1, "device": "gpu"}, 0)])
def test_too_few_gpus_are_an_error_rather_than_a_reason_to_train_on_cpus(given: dict[str, object], gpus: float) -> None:
    with pytest.raises(ConfigError, match=r"train\.device"):
        resources.on_gpus(config(**given), gpus)


def test_an_elastic_run_needs_gpus_for_its_fewest_workers() -> None:
    assert resources.on_gpus(config(workers=4, min_workers=1, slices=4), 1)


def test_a_run_does_not_resume_on_another_device_type(tmp_path: Path) -> None:
    resources.check_device(str(tmp_path), gpus=False)  # nothing trained yet
    run.log(str(tmp_path), {"step": 1, "device": "cuda"})
    resources.check_device(str(tmp_path), gpus=True)
    with pytest.raises(ConfigError, match="begun on cuda"):
        resources.check_device(str(tmp_path), gpus=False)


MEAN = """
import sys, torch
from mosar.platform.training.learner import Learner
from mosar.platform.training.train_config import TrainConfig
rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=3)
config = TrainConfig(steps=1, batch=12, workers=3, slices=4)
learner = Learner(config, None, torch.nn.Linear(1, 1), torch.device("cpu"), rank, 3)
own = torch.tensor([float(1 + slice_) for slice_ in learner.mine]).mean()
total, parts = learner.mean(own, {"fit": 2 * own})
print(total.item(), parts["fit"].item())
"""


def test_losses_are_means_over_all_slices_even_if_some_workers_have_more(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", MEAN, str(rank), str(tmp_path / "store")] for rank in range(3)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert {tuple(json.loads(f"[{line.replace(' ', ',')}]")) for line in said} == {(2.5, 5.0)}
