"""Stack to Caddyfile: the front door."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.model.stores import Addresses

# Uploads and downloads have no size limit, and the store may be silent before the first byte. A call that meets a restart
# of the tracking server waits for it. Each call has a connection of its own: one that is kept could be closed by the server
# just as it is used again.
_TEXT = """\
# Made by `provision`; changes here are overwritten.
{{
	admin off
	auto_https off
	persist_config off
	grace_period 30s
}}

(tracking_server) {{
	lb_try_duration 30s
	lb_try_interval 100ms
	flush_interval -1
	transport http {{
		keepalive off
		compression off
	}}
}}

:{port} {{
	{bind}
	encode zstd gzip

	# The names of these files change with their content. One that is not there may come with the next version.
	@hashed path_regexp ^/static-files/static/.+\\.[0-9a-f]{{8,}}\\.(chunk\\.)?(js|css|woff2?|ttf|svg|png)$
	header @hashed {{
		>Cache-Control "public, max-age=31536000, immutable"
		match status 200 206 304
	}}

	# What only MLflow's FastAPI application answers, or answers better.
	@asgi path {asgi_paths}
	reverse_proxy @asgi {upstream_asgi} {{
		import tracking_server
	}}
	reverse_proxy {upstream} {{
		import tracking_server
	}}
}}
"""


def render_caddyfile(addresses: Addresses, asgi_paths: Sequence[str]) -> str:
    """The Caddyfile of the stack's front door; it answers to every Host header, and MLflow decides which names it accepts."""
    host, _, port = addresses.front.rpartition(":")
    return _TEXT.format(
        port=port,
        bind=f"bind {host.strip('[]')}" if host else "bind 0.0.0.0",
        asgi_paths=" ".join(asgi_paths),
        upstream=addresses.upstream,
        upstream_asgi=addresses.upstream_asgi,
    )
