"""A node on the loopback interface until it is ended: ``python -m mosar.jobs.fault_injection.node ADDRESS CPUS``.

It says Ray's number of it once it has joined. ``ray start`` joins no cluster whose ports are bound to the loopback
interface; Ray's own class does.
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
