"""Runs under a server's own interpreter, after `every_route.py`: every route as one JSON list.

Parameters in paths are `x`, or what a JSON object, the one argument, says for their names.
"""

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.server.every_route import applications, pairs

json.dump(pairs(*applications(), json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}), sys.stdout)
