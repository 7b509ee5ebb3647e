"""The bucket of MLflow's artifacts: made, counted, and copied to a tar file and back.

    objects.py make | count | save FILE | load FILE | empty

CFT_BUCKET names it, MLFLOW_S3_ENDPOINT_URL its server; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
are the credentials. A tar holds every key as it is: two keys of which one is a folder of the other
could not lie in one file system.
"""

import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


class Bucket:
    """One bucket of an S3-compatible server."""

    def __init__(self) -> None:
        self.name = os.environ["CFT_BUCKET"]
        self.client = boto3.client(
            "s3",
            endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"],
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
        )

    def make(self) -> None:
        """Make the bucket, unless it is there."""
        try:
            self.client.head_bucket(Bucket=self.name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            self.client.create_bucket(Bucket=self.name)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Key, size and date of every object; none where there is no bucket."""
        try:
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
                yield from page.get("Contents", [])
        except self.client.exceptions.NoSuchBucket:
            return

    def save(self, path: Path) -> int:
        """Write every object to a tar file; returns how many."""
        count = 0
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for one in self.objects():
                found = self.client.get_object(Bucket=self.name, Key=one["Key"])
                about = tarfile.TarInfo(one["Key"])
                about.size = found["ContentLength"]
                about.mtime = int(found["LastModified"].timestamp())
                archive.addfile(about, found["Body"])
                count += 1
        return count

    def load(self, path: Path) -> int:
        """Write every object of a tar file to the bucket, made if need be; returns how many."""
        self.make()
        count = 0
        with tarfile.open(path) as archive:
            for about in archive:
                content = archive.extractfile(about)
                if content is None:
                    raise tarfile.ReadError(f"{path}: {about.name} is no object")
                self.client.upload_fileobj(content, self.name, about.name)
                count += 1
        return count

    def empty(self) -> int:
        """Delete every object; returns how many."""
        count = 0
        for one in list(self.objects()):
            self.client.delete_object(Bucket=self.name, Key=one["Key"])
            count += 1
        return count


def main(words: list[str]) -> int:
    """Exit status of one verb."""
    match words:
        case ["make"]:
            Bucket().make()
        case ["count"]:
            print(sum(1 for _ in Bucket().objects()))
        case ["save", file]:
            print(Bucket().save(Path(file)))
        case ["load", file]:
            print(Bucket().load(Path(file)))
        case ["empty"]:
            print(Bucket().empty())
        case _:
            print(__doc__, file=sys.stderr)
            return 64
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
