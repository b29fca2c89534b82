"""Ray Data's scheduling loop on a real cluster, while nobody takes what was read."""

import os
import subprocess
import sys
from pathlib import Path

from mosar.platform.cluster import LocalCluster

PROGRAM = """
import sys, time
import numpy as np
from mosar.jobs.fault_injection import toy
from mosar.platform import cluster
from mosar.platform.data import stream
from mosar.platform.data.manifest import open_manifest
where = toy.make_data(sys.argv[1], ["labelled"])["labelled"]
def decode(members, seed):
    return {"image": np.zeros(1 << 17, np.uint8)}
source = stream.Source("labelled", where, open_manifest(where).digest, "train", 8, 0, decode)
stream._AHEAD_BYTES, stream._BLOCK_BYTES = 4 << 20, 1 << 20  # of 200 MB
with cluster.connect():
    batches = stream.batches([source], range(200), [0], 1)
    next(batches)
    time.sleep(3)  # until as much as allowed is read
    before = time.process_time()
    time.sleep(3)
    print(f"used {time.process_time() - before}")
"""


def test_reading_ahead_leaves_the_processor_to_training(shared_cluster: LocalCluster, tmp_path: Path) -> None:
    """Without pauses the loop would keep a core of the worker's process while it has nothing to do."""
    environment = {**os.environ, **shared_cluster.environment}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert float(out.split("used")[1]) < 0.8  # seconds of the processor in 3 seconds
