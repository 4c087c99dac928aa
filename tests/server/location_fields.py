"""Every field of a request of MLflow's whose name may be one of a place, as one JSON list.

Runs under a server's own interpreter.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from mlflow.server.handlers import HANDLERS

PLACE = re.compile(r"location|source|uri|url|path|root|destination|directory|storage|bucket|file")
# By these names it says of whom, or of what kind, and never where.
NO_PLACE = re.compile(r"resource_|source_(type|id|run_id)|profile|root_causes")


def fields(message: Any, before: str, depth: int = 0) -> Iterator[str]:
    for field in message.fields:
        name = f"{before}.{field.name}"
        if PLACE.search(field.name) and not NO_PLACE.search(field.name):
            yield name
        elif (
            field.message_type
            and depth < 5
            and not field.message_type.full_name.startswith("google.protobuf.")
        ):
            yield from fields(field.message_type, name, depth + 1)


# Protobuf makes these classes when they are imported: no checker knows what they have.
requests: Iterable[Any] = HANDLERS
json.dump(
    sorted({name for request in requests for name in fields(request.DESCRIPTOR, request.__name__)}),
    sys.stdout,
)
