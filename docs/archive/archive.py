"""Archives what TTL deletes from a table: its stream's records become files of items in a folder or bucket.

    python archive.py --table sessions --target ./archive            # a folder
    python archive.py --table sessions --target s3://bucket/archive  # a bucket

A file has items in DynamoDB JSON, one a line, in gzip, so that ImportTable and StartBulkPutItems take it as it is. How far each
shard has been read is kept in a table, by default archive-checkpoints. A file is called by the first record in it: after a crash
the same records go to the same file again, and nothing is there twice or missing.
"""
import argparse
import base64
import gzip
import json
import pathlib
import time

import boto3


def to_json(value):
    """DynamoDB JSON of what boto3 has read: binary is base64."""
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
        """Archives the records of a shard that are there now."""
        key = {"shard": {"S": f"{self.arn}/{shard}"}}
        done = self.db.get_item(TableName=self.args.checkpoints, Key=key).get("Item")
        start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": done["sequence"]["S"]} if done else {"ShardIteratorType": "TRIM_HORIZON"}
        at = self.streams.get_shard_iterator(StreamArn=self.arn, ShardId=shard, **start)["ShardIterator"]
        while at:
            page = self.streams.get_records(ShardIterator=at, Limit=1000)
            records = page["Records"]
            if not records:
                return
            # Only what TTL has deleted: deletions by users are not archived.
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
    parser.add_argument("--table", required=True, help="a table with TTL and a stream that has old images")
    parser.add_argument("--target", required=True, help="folder, or s3://BUCKET/PREFIX")
    parser.add_argument("--endpoint-url", help="endpoint of Stator; without it AWS's")
    parser.add_argument("--s3-endpoint-url", help="endpoint of the S3 store; without it AWS's")
    parser.add_argument("--checkpoints", default="archive-checkpoints", help="table that keeps how far each shard was read")
    parser.add_argument("--once", action="store_true", help="archive what is there and stop")
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
