#!/usr/bin/python
"""Shape an interface by netem under a lease, or remove our shaping; see module_utils/."""

from __future__ import annotations

import json

from ansible.module_utils import netem_lease
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.netem_changes import absent, present
from ansible.module_utils.netem_host import Host, NetemError

DOCUMENTATION = """{
"module": "tc_netem",
"short_description": "Shape an interface by netem under a lease",
"description": "Replaces the kernel's default qdisc only; the shaping ends with its lease.",
"author": "ParetoPipe",
"options": {
  "interface": {"type": "str", "required": true,
    "description": "Interface whose traffic is shaped."},
  "state": {"type": "str", "choices": ["present", "absent"], "default": "present",
    "description": "Whether it is to be shaped."},
  "lease_s": {"type": "int", "default": 7200,
    "description": "Seconds until the shaping ends by itself."},
  "peers": {"type": "list", "elements": "str", "default": [],
    "description":
      "Addresses of the other hosts, where the interface carries SSH or for symmetric."},
  "only_peers": {"type": "bool", "default": false,
    "description": "Shape what goes to these only, on an interface without SSH, too."},
  "asked": {"type": "dict", "default": {},
    "description": "What netem is to do, as plain numbers (shaping/conditions.py of the role)."},
  "limit": {"type": "int", "default": 0,
    "description": "Packets in flight; 0 sizes it for delay and rate."},
  "sandbox": {"type": "list", "elements": "str", "default": [],
    "description": "Lines of the unit that ends the shaping."}
}}"""
# JSON is YAML too, which ansible-doc reads; a host may have no reader of YAML.
ARGUMENTS = json.loads(DOCUMENTATION)["options"]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    names = ("tc", "ip", "systemctl", "systemd-run")
    tools = netem_lease.Tools(*(module.get_bin_path(name, required=True) for name in names))
    wanted = {"present": present, "absent": absent}[module.params["state"]]
    try:
        host = Host(module.params["interface"], tools, module.run_command)
        result = wanted(host, module.params, module.check_mode)
    except NetemError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
