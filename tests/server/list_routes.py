# ruff: noqa: F821  the names are those of every_route.py, which stands before this
"""Runs under a server's own interpreter, after `every_route.py`: every route as one JSON list.

Parameters in paths are `x`, or what a JSON object, the one argument, says for their names.
"""

import json
import sys

json.dump(pairs(*applications(), json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}), sys.stdout)
