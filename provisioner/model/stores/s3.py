"""An artifact store in an S3 bucket that exists."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model.addresses import Addresses
from provisioner.model.secret import SecretSpec
from provisioner.model.settings import ArtifactStoreSettings
from provisioner.model.stores.base import SERVERS, ArtifactStore


class S3(ArtifactStore):
    """A bucket of the user's, at AWS or at another endpoint."""

    kind: ClassVar[str] = "s3"
    needs_route: ClassVar[bool] = True

    @property
    def location(self) -> str:
        endpoint = self.settings.artifact_store.endpoint_url
        return f"{self.kind} {bucket_uri(self.settings.artifact_store)}" + (
            f" at {endpoint}" if endpoint else ""
        )

    @property
    def theirs(self) -> str:
        return f"the bucket, which is yours: {self.settings.artifact_store.bucket}"

    def secrets(self) -> tuple[SecretSpec, ...]:
        return key_of_the_server(from_env=True)

    def destination(self, addresses: Addresses) -> str:
        del addresses
        return bucket_uri(self.settings.artifact_store)

    def environment(self, addresses: Addresses) -> dict[str, str]:
        del addresses
        return client_environment(self.settings.artifact_store, self.settings.artifact_store.endpoint_url)


def bucket_uri(store: ArtifactStoreSettings) -> str:
    """Return `s3://BUCKET[/PREFIX]`."""
    return f"s3://{store.bucket}" + (f"/{store.prefix}" if store.prefix else "")


def client_environment(store: ArtifactStoreSettings, endpoint: str | None) -> dict[str, str]:
    """Return what an S3 client in the server is told; without an endpoint it goes to AWS."""
    region = {"AWS_DEFAULT_REGION": store.region}
    return region | {"MLFLOW_S3_ENDPOINT_URL": endpoint} if endpoint else region


def key_of_the_server(*, from_env: bool) -> tuple[SecretSpec, ...]:
    """Return the server's key to the bucket, two secrets; the user's own come from the environment."""
    names = {"s3_access_key_id": "AWS_ACCESS_KEY_ID", "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    return tuple(
        SecretSpec(name, "the server's key to the bucket", variable if from_env else "", SERVERS)
        for name, variable in names.items()
    )
