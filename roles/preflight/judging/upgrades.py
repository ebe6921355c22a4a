"""Check of the package manager, which takes the processor and the disk when it likes."""

from __future__ import annotations

from .findings import Asked, Host, Verdict, note, ok


def upgrades(host: Host, _: Asked) -> Verdict:
    """Judge what may upgrade packages during a sweep, or does so now."""
    seen = host.facts["upgrades"]
    if seen["busy"]:
        return note(
            f"its package manager is at work ({seen['busy']}), expected nobody there: wait until "
            "that is done, since provisioning needs it and runs would be slower meanwhile"
        )
    if not seen["timers"]:
        return ok("no upgrades by themselves")
    return note(
        f"{' and '.join(seen['timers'])} may upgrade it in mid-run, expected neither while it is "
        f"measured: run `sudo systemctl stop {' '.join(seen['timers'])}` there, and `start` after "
        "the sweep"
    )
