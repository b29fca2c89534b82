"""Settings of every test: no network, one thread of torch (several contend with Ray's processes on a small machine)."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
