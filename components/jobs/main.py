"""The entry of a job's driver: `python -m components.jobs.main IDENTITY --run RUN --submission ID`.

It does what a flow's process would do itself, and nothing else: `steps.perform`. It ends itself when the process that
started it is gone, for then Ray was killed and will not know it again.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time

from components.errors import HeadwaterError
from components.ledger import Ledger
from components.settings import settings
from components.steps import perform
from components.store import Store


def main() -> int:
    """Carry out one step; exit status 0 when its artifact is committed, 1 or 2 when it is not."""
    parser = argparse.ArgumentParser(prog="components.jobs.main")
    parser.add_argument("identity")
    parser.add_argument("--run")
    parser.add_argument("--submission")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    here = settings()
    ledger, store = Ledger(here.ledger_url), Store(here.store)
    try:
        stored = perform(ledger, store, here.scratch, asked.identity, asked.run)
    except HeadwaterError as error:
        logging.error("%s: %s", type(error).__name__, error)
        return error.exit_status
    logging.info("committed %s %s (%d bytes)", stored.kind, stored.digest[:8], stored.num_bytes)
    return 0


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
