"""Videos as a job gives them back: in a bucket, by the variables that RunPod names, or in the answer itself."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/matroska"}
INLINE = 10_000_000
"""Characters of base64 that an answer may hold: RunPod takes 10 MB of a job's result, 20 MB where it is waited for."""
WEEK = 7 * 24 * 3600
PART = 16 << 20
VARIABLES = ("BUCKET_ENDPOINT_URL", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY")


class DeliveryError(Exception):
    """A video cannot be given back; it is kept, and the message says what to change."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """`name`: None for this month, as RunPod's own SDK has it: their endpoints name the bucket in the host."""

    endpoint: str
    key_id: str
    secret: str
    name: str | None

    def upload(self, path: Path, key: str) -> str:
        """Streamed, in parts where it is large; gives an address that holds for a week. Raises DeliveryError."""
        from boto3.exceptions import Boto3Error
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import BotoCoreError, ClientError
        from runpod.serverless.utils import rp_upload

        credentials = {"endpointUrl": self.endpoint, "accessId": self.key_id, "accessSecret": self.secret}
        name = self.name or time.strftime("%m-%y")
        try:
            client = cast(Any, rp_upload.get_boto_client(credentials)[0])
            parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
            client.upload_file(str(path), name, key, ExtraArgs={"ContentType": content_type(path)}, Config=parts)
            return client.generate_presigned_url("get_object", Params={"Bucket": name, "Key": key}, ExpiresIn=WEEK)
        except (Boto3Error, BotoCoreError, ClientError, ValueError, OSError) as error:
            named = "BUCKET_NAME" if self.name else "BUCKET_NAME is not set, so it was the month: set it"
            raise DeliveryError(
                f"{path.name} could not be uploaded to bucket {name} at {self.endpoint} ({error}). See that "
                f"BUCKET_ENDPOINT_URL and its keys are right ({named}); the film is kept: send the job again"
            ) from error


def bucket_of(environment: Mapping[str, str]) -> Bucket | None:
    """None where no bucket is configured. Raises DeliveryError where one is by half."""
    values = [environment.get(name, "").strip() for name in VARIABLES]
    if not any(values):
        return None
    missing = [name for name, value in zip(VARIABLES, values, strict=True) if not value]
    if missing:
        raise DeliveryError(f"a bucket is configured by half: set {' and '.join(missing)} too, or none of {VARIABLES}")
    return Bucket(values[0], values[1], values[2], environment.get("BUCKET_NAME", "").strip() or None)


def content_type(path: Path) -> str:
    return TYPES.get(path.suffix.lower(), "application/octet-stream")


def check_inline(paths: Sequence[Path]) -> None:
    """Raises DeliveryError where they are too much for an answer."""
    size = sum((path.stat().st_size + 2) // 3 * 4 for path in paths)
    if size >= INLINE:
        raise DeliveryError(
            f"the answer would hold {size / 1e6:.1f} MB of base64, and RunPod takes {INLINE / 1e6:g} MB: configure a "
            f"bucket ({', '.join(VARIABLES)}, BUCKET_NAME). The film is kept: send the job again then"
        )


def inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
