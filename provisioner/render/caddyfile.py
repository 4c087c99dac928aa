"""Stack to Caddyfile: the front door."""

from __future__ import annotations

from provisioner.model.stores import Addresses

_TEXT = """\
# Made by `provision`; changes here are overwritten.
{{
	admin off
	auto_https off
	persist_config off
	grace_period 30s
}}

:{port} {{
	{bind}
	encode zstd gzip
	# Uploads and downloads have no size limit, and the store may be silent before the first byte.
	# Calls that meet a restart of the tracking server wait for it.
	reverse_proxy {upstream} {{
		lb_try_duration 30s
		lb_try_interval 100ms
		flush_interval -1
	}}
}}
"""


def render_caddyfile(addresses: Addresses) -> str:
    """The Caddyfile of the stack's front door; it answers to every Host header, and MLflow decides which names it accepts."""
    host, _, port = addresses.front.rpartition(":")
    return _TEXT.format(port=port, bind=f"bind {host.strip('[]')}" if host else "bind 0.0.0.0", upstream=addresses.upstream)
