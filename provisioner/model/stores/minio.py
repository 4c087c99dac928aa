"""An artifact store in an S3 server of the stack's own."""

from __future__ import annotations

from typing import ClassVar

from provisioner.errors import PreflightError
from provisioner.model.addresses import Addresses
from provisioner.model.secret import SecretSpec
from provisioner.model.service import OUR_USER, Service, Volume
from provisioner.model.settings import Limits
from provisioner.model.stores.base import ArtifactStore, RuntimeKind
from provisioner.model.stores.s3 import bucket_uri, client_environment, key_of_the_server

MINIO_ROOT_USER = "provision"


class Minio(ArtifactStore):
    """An S3 server of this stack, with one bucket."""

    kind: ClassVar[str] = "minio"

    @property
    def location(self) -> str:
        return f"{self.kind} {bucket_uri(self.settings.artifact_store)}"

    def services(self) -> tuple[Service, ...]:
        return (_service(self.settings.resources.minio),)

    def owned_volumes(self) -> tuple[Volume, ...]:
        return (Volume("minio", "/var/lib/minio", holds="artifact"),)

    def secrets(self) -> tuple[SecretSpec, ...]:
        root = SecretSpec(
            "minio_root_password", "root of the artifact store", services=("minio", "bootstrap")
        )
        return root, *key_of_the_server(from_env=False)

    def destination(self, addresses: Addresses) -> str:
        del addresses
        return bucket_uri(self.settings.artifact_store)

    def environment(self, addresses: Addresses) -> dict[str, str]:
        return client_environment(self.settings.artifact_store, f"http://{addresses.minio}")

    def bootstrap_environment(self, addresses: Addresses) -> dict[str, str]:
        return {"PROVISION_MINIO_ADMIN": addresses.minio}

    def service_environment(self, addresses: Addresses) -> dict[str, str]:
        return {
            "MINIO_ROOT_USER": MINIO_ROOT_USER,
            "MINIO_ROOT_PASSWORD_FILE": f"{addresses.secrets}/minio_root_password",
            "MINIO_BROWSER": "off",
            # Go's default lets garbage double the heap: 90 MB more after one large file, for hardly less CPU.
            "GOGC": "25",
            "MINIO_UPDATE": "off",
        }

    def unavailable(self, runtime: RuntimeKind) -> PreflightError | None:
        if runtime == "docker":
            return None
        return PreflightError(
            "the MinIO artifact store needs Docker",
            where="artifact_store.kind in provision.yml",
            hint="use kind: local, or kind: s3 with the endpoint_url of an S3 server that you have; "
            "or `--runtime docker`",
        )


def _service(limits: Limits) -> Service:
    return Service(
        name="minio",
        image="minio",
        role="artifact store",
        user=OUR_USER,
        command=("minio", "server", "/data", "--address", ":9000", "--certs-dir", "/tmp/certs"),
        secrets=("minio_root_password",),
        volumes=(Volume("minio", "/data", adopt=True),),
        networks=("data",),
        depends_on={"volumes": "completed"},
        tmpfs=("/tmp:mode=1777",),
        memory=limits.memory or "1g",
        cpus=limits.cpus,
        pids=1024,
        grace_seconds=30,
    )
