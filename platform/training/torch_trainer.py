"""Ray Train's trainer for torch, with fewer processes and imports: its controller loads no torch, only workers do.

Workers read their streams themselves, so no process manages data sets that the trainer would hand out. Ray has no
public way to leave either out.
"""

import contextlib
import os
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

_LEAVE_S = 30.0
"""Workers that left the process group are waited for this long, as in Ray's own backend."""


class StreamTrainer(DataParallelTrainer):
    """Trains like Ray's TorchTrainer; give it ``backend_config=TorchGroup()``."""

    def _create_default_callbacks(self) -> list[Any]:
        made: list[Any] = super()._create_default_callbacks()
        return [one for one in made if not isinstance(one, DatasetsCallback)]


class TorchGroup(BackendConfig):
    """The workers form torch's process group, through NCCL if they have GPUs, else through gloo."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _TorchGroup

    @property
    def train_func_context(self) -> Any:
        from ray.train.torch.config import TorchConfigContextManager

        return TorchConfigContextManager


class _TorchGroup(Backend):
    """Does on the workers what Ray's backend for torch does; this class itself lives in the controller."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        address, port = worker_group.execute_single(0, get_address_and_port)
        gpus = worker_group.get_resources_per_worker().get("GPU", 0)
        worker_group.execute(_join, "nccl" if gpus else "gloo", address, port)

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        left = worker_group.execute_async(_leave, len(worker_group) > 1)
        with contextlib.suppress(GetTimeoutError):
            ray.get(left, timeout=_LEAVE_S)


def _join(backend: str, address: str, port: int) -> None:
    from ray.train.torch import config

    os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
    config._set_torch_distributed_env_vars()
    rank, world = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    config._setup_torch_process_group(backend, rank, world, "env://")


def _leave(several: bool) -> None:
    from ray.train.torch import config

    config._shutdown_torch(destroy_process_group=several)
