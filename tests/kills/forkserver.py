"""The worker's fork server, with stages that compute the stub's model instead of torch's."""

from __future__ import annotations

import sys
import types

from tests.kills import mini_torch, stub


def main() -> None:
    mini_torch.install()
    stub.install_engine()
    from paretopipe_runtime import worker
    from paretopipe_runtime.worker import forkserver, socket_backend, stage

    preload = types.ModuleType("preload")
    preload.warm = lambda: (stage, socket_backend)
    sys.modules["paretopipe_runtime.worker.preload"] = worker.preload = preload
    forkserver.main(int(sys.argv[1]))


if __name__ == "__main__":
    main()
