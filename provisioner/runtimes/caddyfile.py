"""Stack to Caddyfile: the proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from provisioner.mlflow_api import IDENTITY_PATH
from provisioner.model.addresses import Addresses
from provisioner.model.proxy import (
    in_url,
    is_address,
    is_public_name,
    public_host,
    public_origin,
    public_path,
    terminates_tls,
)
from provisioner.model.settings import ServerSettings
from provisioner.model.stack import Stack
from provisioner.runtimes.digest import digest_of

CADDYFILE = "deploy/caddy/Caddyfile"
IDENTITY_FILE = "deploy/caddy/identity.json"
_CONFIGURATION = re.compile(rf"(?<=respond {re.escape(IDENTITY_PATH)}/)[0-9a-f]*(?= 200)")
CERTIFICATE = "tls.crt"
# As the tracking server has it, which is asked beside this proxy too
# (`deploy/provision_server/web/body_limits.py`).
MOST_OF_A_BODY = 20_000_000
TOO_LARGE = (
    "The body is larger than 20 MB; send it in several requests, or as an artifact, which has any size."
)
# In whole seconds: so long a call waits for a tracking server that starts anew, and so long a client shall
# wait after that.
HELD, PAUSE = 30, 5
RETRY_MS = 100
AWAY = (
    f"The tracking server did not answer, or could not be asked within {HELD} s. "
    "It may be starting: try again. provision status says how it is."
)
ACME_CA = "acme-ca.crt"

_HEAD = "# Made by `provision`; changes here are overwritten.\n"

# A request's line and headers have to be there soon. Its body has any size, and time for each byte of it.
_SERVERS = """\
	servers {{
		protocols h1 h2
		max_header_size 32KB
		timeouts {{
			read_header 15s
			read_body_idle 30s 10000
			idle 2m
		}}{trusted}
	}}
"""

# What the proxy says for itself names requests too.
_OWN_LOG = """\
	log {
		format filter {
			request>headers delete
			request>uri regexp "[?].*" ""
		}
	}
"""

# Nothing here has a login or a query in it: `Authorization`, cookies and tokens in queries stay out of the
# log. The user is whom the tracking server let in, by a header of its answer that goes no further.
_ACCESS_LOG = """\
(access_log) {
	log {
		output stdout
		format filter {
			request delete
			resp_headers delete
			user_id delete
			duration rename seconds
			size rename bytes
			bytes_read rename bytes_received
			wrap json {
				time_key time
				time_format rfc3339_nano
			}
		}
	}
	log_append address {client_ip}
	log_append method {method}
	log_append path {http.request.orig_uri.path}
}

"""

# The tracking server counts failed logins by the client's address, and trusts no other word for it.
# Uploads and downloads have no size limit, and the store may be silent before the first byte. A call that
# meets a restart of the tracking server waits for it. Connections to it are kept for so long as the server
# promises not to close them while nothing is asked (`web/patient_server.py`). Who is told that a request
# did not come in time still has the rest of it to send: that connection would wait for it, and costs memory.
# Of a request that offers another protocol the server would take the body for a request of its own, and what
# the next client sends on that connection for the rest of it.
_TRACKING_SERVER = """\
(tracking_server) {
	lb_try_duration %ds
	lb_try_interval %dms
	flush_interval -1
	transport http {
		keepalive 1s
		compression off
	}
	header_up X-Provision-Address {client_ip}
	header_up -Upgrade
	header_down -X-Provision-User
	@late header X-Provision-Late *
	handle_response @late {
		abort
	}
	handle_response {
		copy_response
	}
}

"""

_SITE = """\
{address} {{
	{bind}
{prefix}	import access_log
	log_append user {{http.reverse_proxy.header.X-Provision-User}}
{tls}	# An artifact has any size; what is read whole has not.
	@whole not {{
		method PUT
		path /api/2.0/mlflow-artifacts/artifacts/* /ajax-api/2.0/mlflow-artifacts/artifacts/*
	}}
	request_body @whole {{
		max_size {most_of_a_body}
	}}
	handle_errors 413 {{
		header Content-Type application/json
		respond `{too_large}` 413
	}}
	handle_errors 502 503 504 {{
		header Content-Type application/json
		header Retry-After {pause}
		respond `{away}` 503
	}}

	# Compressing takes memory for as long as a client reads. \
The page's files come compressed, and of transfers there are many.
	@answers not path /static-files/* /api/2.0/mlflow-artifacts/artifacts/* \
/ajax-api/2.0/mlflow-artifacts/artifacts/*
	encode @answers zstd gzip

	@identity path {identity_path}
	header @identity Content-Type application/json
	respond @identity "{{file.{front_files}/{identity}}}"
	# Only this configuration has an answer here: who changed it sees when it is in use.
	respond {identity_path}/ 200

	# Of other methods the server only says that it cannot read them.
	@method not method GET HEAD POST PUT PATCH DELETE OPTIONS
	header @method Content-Type "text/html; charset=utf-8"
	respond @method `{not_allowed}` 405

	# PostgreSQL's texts hold no NUL, and no file's name does.
	@nul vars_regexp {{http.request.orig_uri}} (?i)%00
	respond @nul "A NUL in the address." 400

{by_login}	# The names of these files change with their content. \
One that is not there may come with the next version.
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

# Whether what is before us takes the path away or hands it on, we answer alike. What the page names, it names
# beside itself.
_PREFIX = """\
	route {{
		redir {path} {path}/ 308
		uri {path}/* strip_prefix {path}
	}}
"""

# As Flask says it.
_NOT_ALLOWED = """\
<!doctype html>
<html lang=en>
<title>405 Method Not Allowed</title>
<h1>Method Not Allowed</h1>
<p>The method is not allowed for the requested URL.</p>
"""

_NO_DEMO = """\
	# MLflow's demo data takes minutes of the server, and any user could ask for it.
	@demo path /ajax-api/3.0/mlflow/demo/*
	respond @demo "MLflow's demo data is not made on this server." 403

"""

# MLflow without a login has no such route, and the page takes that for its answer; a browser's console has it
# as an error.
_NOBODY = """\
	# The page asks who is logged in: nobody.
	@who path /ajax-api/2.0/mlflow/users/current
	header @who Content-Type application/json
	respond @who `{}` 200

"""

_OTHER_NAMES = """
{address} {{
	{bind}
	import access_log
	respond "This server has another name." 421
}}
"""

_REDIRECT = """
{address} {{
	{bind}
	import access_log
	redir {origin}{{uri}} 308
}}
"""


def render_caddyfile(
    stack: Stack, addresses: Addresses, asgi_paths: Sequence[str], certificates: Mapping[str, bytes]
) -> str:
    """Return the Caddyfile of the stack's proxy.

    Without TLS of its own it answers to every Host header, and MLflow decides which it accepts.
    """
    return with_certificates(_text(stack, addresses, asgi_paths), certificates)


def with_certificates(caddyfile: str, certificates: Mapping[str, bytes]) -> str:
    """Return the text with a digest of itself and of the certificates beside it: it changes when those do."""
    bare = _CONFIGURATION.sub("", caddyfile, count=1)
    return _CONFIGURATION.sub(digest_of(certificates, bare.encode()), bare, count=1)


def configuration_path(caddyfile: str) -> str:
    """Return the path that a proxy answers with 200 while it uses that Caddyfile, and only then."""
    return f"{IDENTITY_PATH}/{_CONFIGURATION.findall(caddyfile)[0]}"


def _text(stack: Stack, addresses: Addresses, asgi_paths: Sequence[str]) -> str:
    server = stack.settings.server
    bind, bind_http = addresses.front_sockets or (_host(addresses.front), _host(addresses.front_http))
    port = _port(addresses.front)
    secure = terminates_tls(server)
    name = in_url(public_host(server))
    site = _SITE.format(
        address=f"https://{name}:{port}" if secure else f"http://:{port}",
        bind=f"bind {bind}",
        prefix=_PREFIX.format(path=path) if (path := public_path(server)) else "",
        tls=_tls(server, addresses),
        identity_path=IDENTITY_PATH,
        front_files=addresses.front_files,
        identity=PurePosixPath(IDENTITY_FILE).name,
        by_login=_NO_DEMO if stack.login else _NOBODY,
        most_of_a_body=MOST_OF_A_BODY,
        too_large=json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": TOO_LARGE}),
        away=json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": AWAY}),
        pause=PAUSE,
        not_allowed=_NOT_ALLOWED,
        asgi_paths=" ".join(asgi_paths),
        upstream=addresses.upstream,
        upstream_asgi=addresses.upstream_asgi,
    )
    text = (
        _HEAD + _options(stack, addresses) + "\n" + _ACCESS_LOG + _TRACKING_SERVER % (HELD, RETRY_MS) + site
    )
    if secure:
        text += _OTHER_NAMES.format(address=f"https://:{port}", bind=f"bind {bind}")
    if secure and addresses.front_http:
        address = f"http://:{_port(addresses.front_http)}"
        text += _REDIRECT.format(address=address, bind=f"bind {bind_http}", origin=public_origin(server))
    return text


def identity_files(identity: str) -> dict[str, bytes]:
    """Return the file with the proxy's answer to who asks which stack it is, by path.

    Return no file for a stack that was never brought up.
    """
    return {IDENTITY_FILE: (json.dumps({"stack": identity}) + "\n").encode()} if identity else {}


def _options(stack: Stack, addresses: Addresses) -> str:
    server = stack.settings.server
    lines = [
        "admin off",
        f"auto_https {'disable_redirects' if terminates_tls(server) else 'off'}",
        "persist_config off",
        "grace_period 30s",
    ]
    if public_path(server):
        # The path goes before anything looks at it.
        lines.append("order route first")
    if terminates_tls(server):
        lines.append(f"https_port {_port(addresses.front)}")
        # Without a listener of ours the one for ACME's challenge is opened when it is needed.
        lines.append(f"http_port {_port(addresses.front_http) if addresses.front_http else 80}")
        if is_address(public_host(server)):
            # A client that uses an address names no server.
            lines.append(f"default_sni {public_host(server)}")
    if server.tls == "internal":
        authority = (
            f'pki {{\n\t\tca {{\n\t\t\tname "provision {stack.name}"\n'
            f'\t\t\troot_cn "provision {stack.name} root"\n\t\t}}\n\t}}'
        )
        lines += ["skip_install_trust", authority]
    trusted = ""
    if server.tls == "external":
        trusted = (
            f"\n\t\ttrusted_proxies static {' '.join(server.trusted_proxies)}\n\t\ttrusted_proxies_strict"
        )
    return (
        "{\n" + "".join(f"\t{line}\n" for line in lines) + _OWN_LOG + _SERVERS.format(trusted=trusted) + "}\n"
    )


def _tls(server: ServerSettings, addresses: Addresses) -> str:
    """Return the lines of the site for its certificate, its TLS versions and Strict-Transport-Security."""
    text = ""
    if terminates_tls(server):
        source = (
            f" {addresses.front_files}/{CERTIFICATE} {addresses.front_key}" if server.tls == "files" else ""
        )
        text += f"\ttls{source} {{\n\t\tprotocols tls1.2 tls1.3\n{_issuer(server, addresses)}\t}}\n"
    # A browser keeps to it for a year: nothing for a name that another network or another server may use too,
    # or for a private certificate.
    alone = is_public_name(public_host(server)) and not public_path(server)
    if server.tls in {"acme", "files", "external"} and alone:
        text += '\theader >Strict-Transport-Security "max-age=31536000"\n'
    return text


def _issuer(server: ServerSettings, addresses: Addresses) -> str:
    if server.tls == "internal":
        return "\t\tissuer internal\n"
    if server.tls == "files":
        return ""
    options = [f"dir {server.acme_ca}"] if server.acme_ca else []
    options += [f"email {server.acme_email}"] if server.acme_email else []
    options += [f"trusted_roots {addresses.front_files}/{ACME_CA}"] if server.acme_ca_file else []
    # Challenges come to the ports that the name has for the world, whatever they are here.
    return "\t\tissuer acme {\n" + "".join(f"\t\t\t{option}\n" for option in options) + "\t\t}\n"


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]") or "0.0.0.0"  # noqa: S104


def _port(address: str) -> str:
    return address.rpartition(":")[2]
