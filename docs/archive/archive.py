"""Archives what TTL deletes from a table: its stream's records become files of items in a folder or bucket.

    python archive.py --table sessions --target ./archive            # a folder
    python archive.py --table sessions --target s3://bucket/archive  # a bucket

A file has items in DynamoDB JSON, one per line, in gzip, so that ImportTable and StartBulkPutItems take it as it is. A table, by default
archive-checkpoints, stores the position in each shard. A file is named after its first record: after a crash the same records go to
the same file again, and no item is missing or duplicated.
"""
import argparse
import base64
import gzip
import json
import pathlib
import time

import boto3


def to_json(value):
    """Returns the DynamoDB JSON of a value from boto3: binary as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [to_json(v) for v in value]
    return value


class Folder:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def put(self, key, body):
        file = self.path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(body)
        part.replace(file)


class Bucket:
    def __init__(self, url, endpoint):
        self.bucket, _, self.prefix = url.removeprefix("s3://").partition("/")
        self.s3 = boto3.client("s3", endpoint_url=endpoint)

    def put(self, key, body):
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix.strip('/')}/{key}".lstrip("/"), Body=body)


class Archive:
    def __init__(self, args):
        self.table, self.args = args.table, args
        self.db = boto3.client("dynamodb", endpoint_url=args.endpoint_url)
        self.streams = boto3.client("dynamodbstreams", endpoint_url=args.endpoint_url)
        self.target = Bucket(args.target, args.s3_endpoint_url) if args.target.startswith("s3://") else Folder(args.target)
        try:
            self.db.create_table(
                TableName=args.checkpoints, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "shard", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "shard", "AttributeType": "S"}])
        except self.db.exceptions.ResourceInUseException:
            pass
        self.db.get_waiter("table_exists").wait(TableName=args.checkpoints)
        self.arn = self.db.describe_table(TableName=self.table)["Table"]["LatestStreamArn"]

    def shards(self):
        last = {}
        while True:
            page = self.streams.describe_stream(StreamArn=self.arn, **last)["StreamDescription"]
            yield from page["Shards"]
            if "LastEvaluatedShardId" not in page:
                return
            last = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}

    def read(self, shard):
        """Archives the records that a shard has now."""
        key = {"shard": {"S": f"{self.arn}/{shard}"}}
        done = self.db.get_item(TableName=self.args.checkpoints, Key=key).get("Item")
        start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": done["sequence"]["S"]} if done else {"ShardIteratorType": "TRIM_HORIZON"}
        at = self.streams.get_shard_iterator(StreamArn=self.arn, ShardId=shard, **start)["ShardIterator"]
        while at:
            page = self.streams.get_records(ShardIterator=at, Limit=1000)
            records = page["Records"]
            if not records:
                return
            # Only TTL's deletions: items that users delete are not archived.
            expired = [r for r in records if r["eventName"] == "REMOVE" and r.get("userIdentity", {}).get("PrincipalId", r.get("userIdentity", {}).get("principalId")) == "dynamodb.amazonaws.com"]
            if expired:
                lines = "".join(json.dumps({"Item": to_json(r["dynamodb"]["OldImage"])}, separators=(",", ":")) + "\n" for r in expired)
                day = expired[0]["dynamodb"]["ApproximateCreationDateTime"].strftime("%Y-%m-%d")
                name = f"{self.table}/day={day}/{shard}-{records[0]['dynamodb']['SequenceNumber']}.json.gz"
                self.target.put(name, gzip.compress(lines.encode(), mtime=0))
                print(f"{len(expired)} items into {name}", flush=True)
            self.db.put_item(TableName=self.args.checkpoints, Item={**key, "sequence": {"S": records[-1]["dynamodb"]["SequenceNumber"]}})
            at = page.get("NextShardIterator")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", required=True, help="table with TTL and a stream with old images")
    parser.add_argument("--target", required=True, help="folder, or s3://BUCKET/PREFIX")
    parser.add_argument("--endpoint-url", help="endpoint of Stator; the default is AWS")
    parser.add_argument("--s3-endpoint-url", help="endpoint of the S3 store; the default is AWS")
    parser.add_argument("--checkpoints", default="archive-checkpoints", help="table that stores the position in each shard")
    parser.add_argument("--once", action="store_true", help="archive the records that are there, then stop")
    args = parser.parse_args()
    archive = Archive(args)
    while True:
        for shard in archive.shards():
            archive.read(shard["ShardId"])
        if args.once:
            return
        time.sleep(1)


if __name__ == "__main__":
    main()
