"""The table of stores: a kind by its name in `provision.yml`."""

from __future__ import annotations

from provisioner.model.settings import Settings, StoreSettings
from provisioner.model.stores.base import ArtifactStore, BackendStore, RuntimeKind, Store
from provisioner.model.stores.local import Local
from provisioner.model.stores.minio import Minio
from provisioner.model.stores.postgres import ExternalPostgres, OwnPostgres
from provisioner.model.stores.s3 import S3

BACKEND_STORES: dict[str, type[BackendStore]] = {
    store.kind: store for store in (OwnPostgres, ExternalPostgres)
}
ARTIFACT_STORES: dict[str, type[ArtifactStore]] = {store.kind: store for store in (Minio, S3, Local)}
DEFAULT_ARTIFACT_STORES: dict[RuntimeKind, type[ArtifactStore]] = {"docker": Minio, "embedded": Local}


def own_settings() -> dict[str, type[StoreSettings]]:
    """Return the classes of settings of the kinds that have keys of their own, by kind."""
    stores: dict[str, type[Store]] = {**BACKEND_STORES, **ARTIFACT_STORES}
    return {kind: store.own_settings for kind, store in stores.items() if store.own_settings}


def backend_store(settings: Settings) -> BackendStore:
    """Return the backend store that the settings mean."""
    return BACKEND_STORES[settings.backend_store.kind](settings)


def artifact_store(settings: Settings, runtime: RuntimeKind) -> ArtifactStore:
    """Return the artifact store that the settings mean, on that runtime its default where they name none."""
    kind = settings.artifact_store.kind
    return (ARTIFACT_STORES[kind] if kind else DEFAULT_ARTIFACT_STORES[runtime])(settings)
