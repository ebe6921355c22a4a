"""The worker's fork server, with stages that compute the stub's model instead of torch's."""

from __future__ import annotations

import os
import sys
import types

from tests.kills import mini_torch, stub


def main() -> None:
    mini_torch.install()
    stub.install_engine()
    from paretopipe_runtime import environment, worker
    from paretopipe_runtime.worker import forkserver, socket_backend, stage

    environment.BOOT_ID = os.environ["PARETOPIPE_TEST_BOOT_ID"]  # see `agent.own_boot`
    preload = types.ModuleType("preload")
    preload.warm = lambda: (stage, socket_backend)
    sys.modules["paretopipe_runtime.worker.preload"] = worker.preload = preload
    forkserver.main(int(sys.argv[1]))


if __name__ == "__main__":
    main()
