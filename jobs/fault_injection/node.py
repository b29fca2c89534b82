"""Run a Ray node on the loopback interface: ``python -m mosar.jobs.fault_injection.node ADDRESS CPUS``.

It prints its node id once it has joined, and runs until SIGTERM. ``ray start`` cannot join a cluster whose ports are
bound to the loopback interface; Ray's own ``Node`` class can.
"""

import signal
import sys

STARTED = "node started: "


def main(address: str, cpus: int) -> None:
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    params = RayParams(
        gcs_address=address,
        redis_address=address,
        node_ip_address="127.0.0.1",
        num_cpus=cpus,
        include_log_monitor=False,
        object_manager_port=0,
        node_manager_port=0,
        min_worker_port=0,
        max_worker_port=0,
    )
    node = Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False)
    print(f"{STARTED}{node.node_id}", flush=True)
    signal.pause()
    node.kill_all_processes(check_alive=False)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)
    main(sys.argv[1], int(sys.argv[2]))
