"""The worker's fork server, with stages that compute the stub's model instead of torch's."""

from __future__ import annotations

import os
import sys

from tests.kills import mini_torch, stub


def main() -> None:
    mini_torch.install()
    stub.install_engine()
    from paretopipe_runtime import environment
    from paretopipe_runtime.worker import forkserver, stage
    from paretopipe_runtime.worker.backends import socket as socket_backend

    environment.BOOT_ID = os.environ["PARETOPIPE_TEST_BOOT_ID"]  # see `agent.own_boot`
    forkserver.warm = lambda: (stage, socket_backend)
    forkserver.main(int(sys.argv[1]))


if __name__ == "__main__":
    main()
