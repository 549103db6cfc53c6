"""What the daemons log: one JSON object a line, fields kept."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from ops import logs
logs.set_up("agent")
logger = logging.getLogger("proxy.somewhere")
logger.debug("not told")
logger.warning("a static phrase", extra={"service": "shop/api", "error.code": "store_unavailable", "revision": 7})
try:
    raise ValueError("why")
except ValueError:
    logger.exception("it failed")
"""


def test_a_record_is_one_object_with_its_fields_and_goes_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == ""
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["event"] for one in told] == ["a static phrase", "it failed"]
    assert (told[0]["level"], told[0]["process"]) == ("warning", "agent")
    assert (told[0]["service"], told[0]["error.code"], told[0]["revision"]) == ("shop/api", "store_unavailable", 7)
    assert told[0]["time"].endswith("Z")
    assert "ValueError: why" in told[1]["exception"]
