"""The artifact bucket: made with a key of its own in our MinIO, only looked at in an S3 that the user has."""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import urlsplit

from provision_server.settings import Fault, Settings
from provision_server.stores.artifacts import ArtifactStore, Say

ROOT_USER = "provision"
POLICY = "provision-mlflow"
# MinIO answers before it has read its users and policies, and forgets what it was given until then.
_PASSING = ("NoSuchPolicy", "NoSuchUser", "NotInitialized")


class Store(ArtifactStore):
    """A bucket, and a prefix inside of it."""

    def prepare(self, say: Say) -> None:
        prepare_bucket(self.settings, say)

    def export(self) -> None:
        os.environ["AWS_ACCESS_KEY_ID"] = self.settings.secret("s3_access_key_id")
        os.environ["AWS_SECRET_ACCESS_KEY"] = self.settings.secret("s3_secret_access_key")
        # Newer boto3 sends checksums that some S3 servers refuse.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")

    def register(self) -> None:
        _never_send_clients_to_the_store()

    def size(self, path: str) -> int | None:
        from botocore.exceptions import ClientError

        bucket, prefix = bucket_of(self.settings)
        try:
            found = self._client().head_object(Bucket=bucket, Key=f"{prefix}/{path}".lstrip("/"))
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise Fault(f"the artifact store refused: {error}") from error
        return int(found["ContentLength"])

    def usage(self) -> tuple[int, int]:
        bucket, prefix = bucket_of(self.settings)
        objects = size = 0
        for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                objects, size = objects + 1, size + item["Size"]
        return objects, size

    def _client(self) -> Any:
        os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        return s3_client(
            self.settings,
            self.settings.secret("s3_access_key_id"),
            self.settings.secret("s3_secret_access_key"),
        )


def bucket_of(settings: Settings) -> tuple[str, str]:
    """Return the bucket and the prefix inside it."""
    parts = urlsplit(settings.artifacts)
    return parts.netloc, parts.path.strip("/")


def s3_client(settings: Settings, key: str, secret: str) -> Any:
    """Return a client of the store that neither hangs nor retries for minutes."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=3, read_timeout=20, retries={"max_attempts": 2}, s3={"addressing_style": "auto"}
    )
    return boto3.client(
        "s3",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        endpoint_url=settings.s3_endpoint or None,
        config=config,
    )


def prepare_bucket(settings: Settings, say: Say) -> None:
    """Check that the server's key opens the bucket; in our MinIO make both first.

    Raise Fault, which says what is in the way.
    """
    key, secret = settings.secret("s3_access_key_id"), settings.secret("s3_secret_access_key")
    if settings.minio_admin:
        _make_bucket_and_key(settings, key, secret, say)
    bucket, _ = bucket_of(settings)
    problem = _problem(
        s3_client(settings, key, secret), bucket, 0 if settings.minio_admin else settings.deadline
    )
    if problem:
        raise Fault(f"bucket {bucket} at {settings.s3_endpoint or 'AWS'}: {problem}")
    say("ok", f"bucket {bucket} opens with the server's key")


def _make_bucket_and_key(settings: Settings, key: str, secret: str, say: Say) -> None:
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider

    bucket, _ = bucket_of(settings)
    root = settings.secret("minio_root_password")
    client = s3_client(settings, ROOT_USER, root)
    problem = _problem(client, bucket, settings.deadline)
    if problem == _MISSING:
        client.create_bucket(Bucket=bucket)
        say("created", f"bucket {bucket}")
    elif problem == _DENIED:
        raise Fault(
            "the artifact store refuses its root password: "
            "the secrets are not those that this data was made with"
        )
    elif problem:
        raise Fault(f"bucket {bucket}: {problem}")
    else:
        say("unchanged", f"bucket {bucket}")
    admin = MinioAdmin(
        endpoint=settings.minio_admin, credentials=StaticProvider(ROOT_USER, root), secure=False
    )
    end = time.monotonic() + settings.deadline
    while refusal := _refusal(admin, bucket, key, secret):
        if time.monotonic() >= end or not any(code in refusal for code in _PASSING):
            raise Fault(f"the artifact store refused to make the server's key: {refusal}")
        time.sleep(0.2)
    say("ok", f"key limited to bucket {bucket}")


def _refusal(admin: Any, bucket: str, key: str, secret: str) -> str:
    """Make the policy and the key that has it; return what the store said against it, "" when nothing."""
    from minio.error import MinioAdminException

    try:
        admin.policy_add(POLICY, policy=_policy(bucket))
        admin.user_add(key, secret)
        admin.attach_policy([POLICY], user=key)
    except MinioAdminException as error:
        # A second attachment is refused with this code, and is what we want.
        return "" if "PolicyChangeAlreadyApplied" in str(error) else str(error)
    return ""


def _policy(bucket: str) -> dict[str, Any]:
    """Return the policy that allows access inside the bucket, and to nothing else.

    Both resources are needed, or listing is refused.
    """
    objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    listing = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": listing, "Resource": [f"arn:aws:s3:::{bucket}"]},
            {"Effect": "Allow", "Action": objects, "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        ],
    }


_MISSING = "there is no such bucket; make it first, or fix artifact_store.bucket"
_DENIED = (
    "access is denied: check what the key may do; "
    "the right one goes into secrets/s3_access_key_id and secrets/s3_secret_access_key, "
    "or, if none has worked yet, into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for `provision up`"
)


def _problem(client: Any, bucket: str, deadline: float) -> str:
    """Return what keeps the bucket from being used; "" when nothing does."""
    from botocore.exceptions import BotoCoreError, ClientError

    end = time.monotonic() + deadline
    while True:
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                return _MISSING
            if status in {401, 403}:
                return _DENIED
            seen = str(error)
        except BotoCoreError as error:
            seen = f"not reachable: {error}"
        else:
            return ""
        if time.monotonic() >= end:
            return seen
        time.sleep(0.1)


def _never_send_clients_to_the_store() -> None:
    """Register an S3 repository without presigning, which would hand clients URLs of the internal store."""
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    class ProxiedS3ArtifactRepository(ArtifactRepository):  # type: ignore[misc, unused-ignore]
        """MLflow's S3 repository, offering only what goes through the server."""

        def __init__(
            self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
        ) -> None:
            super().__init__(artifact_uri, tracking_uri, registry_uri)
            self._s3 = S3ArtifactRepository(
                artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri
            )

        def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
            self._s3.log_artifact(local_file, artifact_path)

        def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
            self._s3.log_artifacts(local_dir, artifact_path)

        def list_artifacts(self, path: str | None = None) -> Any:
            return self._s3.list_artifacts(path)

        def _download_file(self, remote_file_path: str, local_path: str) -> None:
            self._s3._download_file(remote_file_path, local_path)

        def delete_artifacts(self, artifact_path: str | None = None) -> None:
            self._s3.delete_artifacts(artifact_path)

        def upload_archived_trace_data_bytes(self, data: bytes) -> None:
            self._s3.upload_archived_trace_data_bytes(data)

    _artifact_repository_registry.register("s3", ProxiedS3ArtifactRepository)
