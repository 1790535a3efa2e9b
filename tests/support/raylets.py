"""An elastic phase on several nodes, each a raylet on this machine: `python tests/support/raylets.py JOB.json OUT`.

Two nodes of two CPUs; the second is killed when a fifth of the steps are done, and another comes soon after, for which
it takes half a minute, in which a small model makes many steps. Prints one JSON line for each line of progress, and
then the facts.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")

import ray._private.utils
from ray.cluster_utils import Cluster

from components.training import distributed
from components.training.config import Job
from components.training.train import train

ray._private.utils.set_sigterm_handler = lambda handler: None  # only a main thread may, and progress comes in another
NODE = {"num_cpus": 2, "object_store_memory": 2**27, "include_dashboard": False}


def main(described: Path, out: Path) -> None:
    """Train the job on a cluster that shrinks and grows."""
    job = Job.from_json(json.loads(described.read_text()))
    distributed.RESIZE_SECONDS = 5.0
    cluster = Cluster()
    added(cluster)  # the head
    os.environ["RAY_ADDRESS"] = cluster.address
    nodes = [added(cluster)]

    def report(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)
        done = line.get("done", 0) / line.get("total", 1)
        if done > 0.2 and len(nodes) == 1:
            cluster.remove_node(nodes[0], allow_graceful=False)
            nodes.append(None)
        if done > 0.25 and len(nodes) == 2:
            nodes.append(added(cluster))

    try:
        print(json.dumps(train(job.config, job.samples, job.init, out=out, scratch=job.scratch, report=report)))
    finally:
        cluster.shutdown()


def added(cluster: Cluster, patience: int = 6) -> Any:
    """Another node. Ray gives each 30 s to start, which is too little on a busy machine."""
    try:
        return cluster.add_node(**NODE)
    except Exception:
        if not patience:
            raise
        return added(cluster, patience - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
