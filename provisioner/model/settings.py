"""What `provision.yml` may say, as frozen values; `settings_text.py` parses it."""

from __future__ import annotations

import ipaddress
import re
import reprlib
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

SOURCE = "provision.yml"
MOST_WORKERS = 64

_SHOWN_CHARACTERS = 80
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 3, _SHOWN_CHARACTERS, _SHOWN_CHARACTERS

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


def shown(value: object) -> str:
    """Return the value as a message shows it: at most 80 characters.

    By anchors a small file has values of any size, which are not written out to be cut.
    """
    return cut(_REPR.repr(value))


def cut(text: str) -> str:
    """Return the text as far as a message shows it: at most 80 characters."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _refuse_boolean(value: Any) -> Any:
    # For Python true is 1. Pydantic takes no other error for a fault of the value.
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {str(value).lower()}")  # noqa: TRY004
    return value


_Number = BeforeValidator(_refuse_boolean)
Port = Annotated[int, Field(ge=1, le=65535), _Number]
Memory = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[mg]$")]
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~@+-]+)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9a-f:.]+")
SSHDestination = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9._:-]*$")
]
ImageReference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]+$")]


class Group(BaseModel):
    """A mapping of `provision.yml`; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_the_default(cls, data: Any) -> Any:
        """Treat `server:` with nothing below it, or with comments only, as absent."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class StoreSettings(Group):
    """The keys of a store; a kind that has others than those below has a class of its own."""


class BackendStoreSettings(StoreSettings):
    """Where MLflow keeps experiments, runs, metrics and models."""

    kind: Literal["postgres", "external"] = "postgres"
    """`postgres`: a database of this stack. `external`: a PostgreSQL that exists, named by `uri`."""
    uri: str | None = None
    """With `external`: postgresql+psycopg2://USER@HOST:PORT/DATABASE, without a password (that is the secret
    `backend_store_password`)."""
    indexes: bool = False
    """With `external`: whether indexes of this program's own, `provision_...`, are made there, by which the
    newest of many runs are found several times faster. A database of this stack has them."""

    @field_validator("uri")
    @classmethod
    def _uri_is_complete(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = _split(value)
        if parts.scheme != "postgresql+psycopg2":
            raise ValueError(
                "must start with postgresql+psycopg2:// (a bare postgresql:// means another driver)"
            )
        if parts.password or {"password", "sslpassword"} & set(parse_qs(parts.query)):
            raise ValueError("must hold no password; put it into secrets/backend_store_password")
        if not (parts.username and parts.hostname and parts.path.strip("/")):
            raise ValueError(
                "must name user, host and database: postgresql+psycopg2://USER@HOST:PORT/DATABASE"
            )
        return value

    @model_validator(mode="after")
    def _keys_of_external(self) -> BackendStoreSettings:
        if (self.kind == "external") != (self.uri is not None):
            raise ValueError("kind: external and uri go together")
        if self.indexes and self.kind != "external":
            raise ValueError("indexes goes with kind: external; a database of this stack has them")
        return self


class ArtifactStoreSettings(StoreSettings):
    """Where MLflow keeps files and models; clients reach it through the tracking server only."""

    kind: Literal["minio", "s3", "local"] | None = None
    """`minio`: an S3 server of this stack (Docker's default). `s3`: a bucket that exists. `local`: a private
    folder (embedded default)."""
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = "mlflow"
    """The bucket, for `minio` and `s3`."""
    prefix: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*$")] | None
    ) = None
    """A path inside the bucket, for `s3`."""
    endpoint_url: str | None = None
    """The S3 endpoint, for `s3`; absent means AWS."""
    region: str = "us-east-1"
    """The region, for `s3`."""

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_is_http(cls, value: str | None) -> str | None:
        if value is not None and _http_parts(value).username is not None:
            raise ValueError(
                "must hold no login: the key is two secrets, s3_access_key_id and s3_secret_access_key"
            )
        return value

    @model_validator(mode="after")
    def _keys_of_s3(self) -> ArtifactStoreSettings:
        if self.kind != "s3" and (self.endpoint_url or self.prefix):
            raise ValueError("endpoint_url and prefix go with kind: s3")
        return self


class ServerSettings(Group):
    """The tracking server and its proxy."""

    bind: str = "127.0.0.1"
    """The address that the proxy listens on; any but a loopback address needs `auth: basic` and `tls`."""
    port: Port | None = None
    """The proxy's port; absent: with TLS the port of `public_url`, else 5000, or the next free one, which is
    then kept."""
    public_url: str | None = None
    """The address that people type, such as https://mlflow.example.com or https://example.com/mlflow; `tls`
    needs it."""
    tls: Literal["acme", "internal", "files", "external"] | None = None
    """Where TLS is terminated. `acme`: certificates of Let's Encrypt. `internal`: a certificate authority of
    this stack. `files`: a certificate of yours. `external`: something of yours before the proxy. Absent:
    plain HTTP, on this machine alone."""
    http_port: Port | None = None
    """Where plain HTTP is redirected, and ACME's challenge answered; absent: 80 when the proxy's port is 443,
    else nowhere."""
    tls_certificate: str | None = None
    """With `files`: PEM file of the certificate and its chain, relative to the stack directory; a private
    root at its end is handed to clients."""
    tls_key: str | None = None
    """With `files`: PEM file of its private key, relative to the stack directory."""
    acme_ca: str | None = None
    """With `acme`: the directory URL of another ACME server than Let's Encrypt's."""
    acme_ca_file: str | None = None
    """With `acme_ca`: PEM file of the private certificates behind it, relative to the stack directory; handed
    to clients too."""
    acme_email: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+$")] | None = None
    """With `acme`: whom the certificate authority may write to."""
    allowed_hosts: tuple[str, ...] = ()
    """Other names that clients use for it, such as a container's for this machine; not where the proxy
    terminates TLS itself."""
    trusted_proxies: tuple[str, ...] = ()
    """With `external`: addresses or networks (192.0.2.0/24) whose X-Forwarded-For is trusted."""
    auth: Literal["none", "basic"] = "none"
    """`basic`: everybody logs in; the login `admin` is generated."""
    default_permission: Literal["READ", "EDIT", "MANAGE", "NO_PERMISSIONS"] = "EDIT"
    """With `auth: basic`: what a user may do with experiments and models of others."""
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_WORKERS)] = "auto"
    """Server worker processes."""
    genai: bool = False
    """Jobs and the AI gateway, and a route out for the server."""
    fast: bool = True
    """Whether hot calls are answered by the server's own tracking store, several times faster; `false`:
    MLflow's own for all."""

    @property
    def host(self) -> str:
        """The bound address as it stands before a port."""
        return f"[{self.bind}]" if ":" in self.bind else self.bind

    @field_validator("bind")
    @classmethod
    def _bind_is_address(cls, value: str) -> str:
        try:
            return str(ipaddress.ip_address("" if "%" in value else value))
        except ValueError as error:
            raise ValueError("must be an IP address such as 127.0.0.1 or 0.0.0.0") from error

    @field_validator("workers", mode="before")
    @classmethod
    def _workers_is_auto_or_a_number(cls, value: Any) -> Any:
        # Pydantic would report one fault for each of the two.
        if value != "auto" and not (type(value) is int and 1 <= value <= MOST_WORKERS):
            raise ValueError(f"must be auto, or a number from 1 to {MOST_WORKERS}, not {shown(value)}")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = _http_parts(value)
        host = parts.hostname or ""
        if parts.query or parts.fragment or not _HOST.fullmatch(host):
            raise ValueError(
                "must be an address such as https://mlflow.example.com or https://example.com/mlflow"
            )
        if not _PATH.fullmatch(parts.path.rstrip("/")):
            raise ValueError("must have a path of letters, digits and ._~@+- alone, such as /mlflow")
        if parts.username is not None:
            raise ValueError("must hold no login")
        try:
            _ = parts.port
        except ValueError as error:
            raise ValueError(str(error)) from error
        return value.rstrip("/")

    @field_validator("acme_ca")
    @classmethod
    def _acme_ca_is_https(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(
            r"https://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/-]*)?", value
        ):
            raise ValueError(
                "must be an https:// address, such as https://ca.example.com/acme/acme/directory"
            )
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _HOST.fullmatch(value):
                raise ValueError(
                    f"must be names or addresses without a port, such as my-machine.lan, not {shown(value)}"
                )
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ipaddress.ip_network(value)) for value in values)
        except ValueError as error:
            raise ValueError(f"must be addresses or networks such as 192.0.2.0/24: {error}") from error


class ImageSettings(Group):
    """Container images; each reference can be replaced, and a registry put before all."""

    registry: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")] | None = None
    """A registry or mirror put before every default reference, such as registry.example.com/mirror."""
    python: ImageReference | None = None
    """What the server image is built on."""
    server: ImageReference | None = None
    """A server image that exists; nothing is built then."""
    postgres: ImageReference | None = None
    """The backend store."""
    minio: ImageReference | None = None
    """The artifact store."""
    caddy: ImageReference | None = None
    """The proxy."""


class BuildSettings(Group):
    """How the server's packages are fetched; proxies are taken from the environment."""

    index_url: str | None = None
    """A Python package index in place of PyPI; it must not hold a login."""
    ca_file: str | None = None
    """A file of PEM certificates that the package index or a proxy is signed by; relative to the stack
    directory."""

    @field_validator("index_url")
    @classmethod
    def _index_has_no_login(cls, value: str | None) -> str | None:
        if value is not None and _http_parts(value).username is not None:
            raise ValueError("must hold no login: it would be kept in the image")
        return value


class Limits(Group):
    """What one service may use at the most."""

    memory: Memory | None = None
    """For example 512m or 2g."""
    cpus: Annotated[float, Field(gt=0, le=1024), _Number] | None = None
    """Processor cores, for example 1.5."""


class ResourceSettings(Group):
    """Limits by service (Docker only)."""

    postgres: Limits = Limits()
    """The backend store."""
    minio: Limits = Limits()
    """The artifact store."""
    mlflow: Limits = Limits()
    """The tracking server."""
    proxy: Limits = Limits()
    """The proxy."""


class Settings(Group):
    """What the user wants of a stack; every key has a default, so an empty file is a complete stack."""

    name: Name = "mlflow"
    """The stack's name, fixed when the stack is made."""
    ssh: SSHDestination | None = None
    """The server that the stack is on, as `ssh` is told: USER@HOST, HOST, or a name of your SSH
    configuration. `provision deploy` writes it. Absent: this machine."""
    backend_store: BackendStoreSettings = BackendStoreSettings()
    """Where experiments, runs and models are kept."""
    artifact_store: ArtifactStoreSettings = ArtifactStoreSettings()
    """Where files are kept."""
    server: ServerSettings = ServerSettings()
    """The tracking server and its proxy."""
    images: ImageSettings = ImageSettings()
    """Container images."""
    build: BuildSettings = BuildSettings()
    """How the server's packages are fetched."""
    resources: ResourceSettings = ResourceSettings()
    """Limits by service."""

    @field_validator("backend_store", "artifact_store", mode="wrap")
    @classmethod
    def _keys_of_its_kind(cls, data: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Check a store by the class of its kind, where the context of the validation names one."""
        kind = data.get("kind") if isinstance(data, dict) else None
        own: type[StoreSettings] | None = (info.context or {}).get(kind) if isinstance(kind, str) else None
        return own.model_validate(data) if own else handler(data)


def _split(address: str) -> SplitResult:
    """Return the parts of the address; raise ValueError when its host or port is none."""
    parts = urlsplit(address)
    if parts.port == 0:
        raise ValueError("port 0 is none")
    return parts


def _http_parts(address: str) -> SplitResult:
    parts = _split(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return parts


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of `provision.yml`, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Settings.model_json_schema(),
        "title": SOURCE,
    }
