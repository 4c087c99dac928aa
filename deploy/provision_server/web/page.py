"""The files of MLflow's page as they were compressed when the server was made, sent by the event loop.

A threaded worker would hold a thread for as long as somebody, without a login, takes to read one.
"""

from __future__ import annotations

import mimetypes
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from werkzeug.http import parse_accept_header

from provision_server.web.routes import PAGE_FILES

# The best first.
CODINGS = {"zstd": ".zst", "gzip": ".gz"}


class _Files(StaticFiles):
    """Starlette's, before an application that answers for all else.

    What lies compressed beside itself is sent so to who takes that.
    """

    def __init__(self, application: Any, directory: str) -> None:
        super().__init__(directory=directory)
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = (
            await self._response(scope)
            if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}
            else None
        )
        await (response or self._application)(scope, receive, send)

    async def _response(self, scope: Any) -> Response | None:
        """Return the file as the request's Accept-Encoding has it, None when no file has that path."""
        path = scope["path"]
        if not path.startswith(f"{PAGE_FILES}/"):
            return None
        path = path.removeprefix(f"{PAGE_FILES}/")
        accepted = parse_accept_header(",".join(Headers(scope=scope).getlist("accept-encoding")))
        for coding, suffix in CODINGS.items():
            if accepted.quality(coding) > 0 and (packed := await self._found(path + suffix, scope)):
                kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                packed.headers["Content-Type"] = (
                    f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
                )
                packed.headers["Content-Encoding"] = coding
                return packed
        return await self._found(path, scope)

    async def _found(self, path: str, scope: Any) -> Response | None:
        try:
            response = await self.get_response(path, scope)
        except HTTPException:
            return None
        response.headers["Vary"] = "Accept-Encoding"
        return response


def serve_files(application: Any, directory: str, rest: Any) -> None:
    """Have the FastAPI application serve the page's files where it has no route, and `rest` all else.

    `rest` is Flask's application.
    """
    (flask,) = (route for route in application.router.routes if isinstance(route, Mount) and not route.path)
    flask.app = _Files(rest, directory)
