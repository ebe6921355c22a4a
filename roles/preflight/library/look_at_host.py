#!/usr/bin/python
"""Gather a host's facts, without judgement or lasting changes.

Runs before installation: standard library of Python 3.8 only. Unknown facts are None, with the
reason where there is one.
"""

from __future__ import annotations

import json
import platform

from ansible.module_utils import look_machine as machine
from ansible.module_utils import look_network as network
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """{
"module": "look_at_host",
"short_description": "Gather what decides whether a host is fit for a sweep",
"description":
  "Looks, without judgement or lasting changes; unknown facts are null, with the reason.",
"author": "ParetoPipe",
"options": {
  "address": {"type": "str", "default": "",
    "description": "Its address on the experiment network."},
  "interface": {"type": "str", "default": "",
    "description": "The interface whose traffic is to be shaped."},
  "peers": {"type": "list", "elements": "str", "default": [],
    "description": "Experiment addresses of the other hosts."},
  "ssh_client": {"type": "str", "default": "",
    "description": "The address SSH came from."},
  "python": {"type": "path", "required": true,
    "description": "The interpreter to install with."},
  "home": {"type": "path", "required": true,
    "description": "The folder of the virtual environment."},
  "state_dir": {"type": "path", "required": true,
    "description": "The folder of weights and records."},
  "netem": {"type": "str", "choices": ["none", "egress", "symmetric"], "default": "none",
    "description": "What the kernel will have to shape, and is to be tried."},
  "only_peers": {"type": "bool", "default": false,
    "description": "Whether it will shape what goes to some hosts only, as with SSH beside it."},
  "gpu": {"type": "bool", "default": false,
    "description": "Whether it has an NVIDIA GPU is to be asked."},
  "convolution": {"type": "bool", "default": false,
    "description": "Whether to try torch once more."},
  "noise": {"type": "int", "default": 0,
    "description": "Seconds of the same work, to see what it scatters by; 0 for none."},
  "burn_in": {"type": "int", "default": 0,
    "description":
      "Seconds with all processors busy, to see what cooling and supply bear; 0 for none."}
}}"""
# JSON is YAML too, which ansible-doc reads; a host may have no reader of YAML.
ARGUMENTS = json.loads(DOCUMENTATION)["options"]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = module.params
    ways = network.network(
        asked["address"], asked["interface"], asked["ssh_client"], asked["peers"]
    )
    tried: machine.Facts | None = None
    if asked["netem"] != "none" and module.check_mode:
        tried = {"works": None, "lacks": None, "said": "not tried in check mode"}
    elif asked["netem"] != "none":
        beside_ssh = ways["ssh"] is not None and ways["ssh"] == ways["shaped"]
        tried = network.netem(beside_ssh or asked["only_peers"], asked["netem"] == "symmetric")
    module.exit_json(
        changed=False,
        facts={
            **machine.processor(),
            "kernel": platform.release(),
            "identity": network.identity(),
            "python": machine.python(asked["python"]),
            **machine.torch(asked["home"], asked["convolution"]),
            "memory": machine.memory(),
            "home": machine.disk(asked["home"]),
            "state": machine.disk(asked["state_dir"]),
            "kept_bytes": sum(
                machine.size_of(f"{asked['state_dir']}/{folder}")
                for folder in ("weights", "engines")
            ),
            "governors": machine.governors(),
            "upgrades": machine.upgrades(),
            "throttling": machine.throttling(),
            "controllers": machine.controllers(),
            "swap": machine.swap(),
            "gpus": machine.gpus(asked["gpu"]),
            **ways,
            "netem": tried,
            **{
                what: machine.measured(asked["home"], what, asked[what])
                for what in ("noise", "burn_in")
            },
        },
    )


if __name__ == "__main__":
    main()
