"""The artifact bucket: made with a key of its own in our MinIO, only looked at in an S3 that the user has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from provision_server.settings import Fault, Settings

ROOT_USER = "provision"
POLICY = "provision-mlflow"
# MinIO answers before it has read its users and policies, and forgets what it was given until then.
_PASSING = ("NoSuchPolicy", "NoSuchUser", "NotInitialized")
Say = Callable[[str, str], None]


def s3_client(settings: Settings, key: str, secret: str) -> Any:
    """Return a client of the store that neither hangs nor retries for minutes."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=3, read_timeout=20, retries={"max_attempts": 2}, s3={"addressing_style": "auto"})
    return boto3.client("s3", aws_access_key_id=key, aws_secret_access_key=secret, endpoint_url=settings.s3_endpoint or None, config=config)


def prepare_bucket(settings: Settings, say: Say) -> None:
    """Check that the server's key opens the bucket; in our MinIO make both first.

    Raise Fault, which says what is in the way.
    """
    key, secret = settings.secret("s3_access_key_id"), settings.secret("s3_secret_access_key")
    if settings.minio_admin:
        _make_bucket_and_key(settings, key, secret, say)
    bucket, _ = settings.bucket
    problem = _problem(s3_client(settings, key, secret), bucket, 0 if settings.minio_admin else settings.deadline)
    if problem:
        raise Fault(f"bucket {bucket} at {settings.s3_endpoint or 'AWS'}: {problem}")
    say("ok", f"bucket {bucket} opens with the server's key")


def _make_bucket_and_key(settings: Settings, key: str, secret: str, say: Say) -> None:
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider

    bucket, _ = settings.bucket
    root = settings.secret("minio_root_password")
    client = s3_client(settings, ROOT_USER, root)
    problem = _problem(client, bucket, settings.deadline)
    if problem == _MISSING:
        client.create_bucket(Bucket=bucket)
        say("created", f"bucket {bucket}")
    elif problem == _DENIED:
        raise Fault("the artifact store refuses its root password: the secrets are not those that this data was made with")
    elif problem:
        raise Fault(f"bucket {bucket}: {problem}")
    else:
        say("unchanged", f"bucket {bucket}")
    admin = MinioAdmin(endpoint=settings.minio_admin, credentials=StaticProvider(ROOT_USER, root), secure=False)
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
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    listing = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": listing, "Resource": [f"arn:aws:s3:::{bucket}"]},
            {"Effect": "Allow", "Action": objects, "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        ],
    }


_MISSING = "there is no such bucket; make it first, or mend artifact_store.bucket"
_DENIED = (
    "access is denied: check what the key may do; the right one goes into secrets/s3_access_key_id and secrets/s3_secret_access_key, "
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
