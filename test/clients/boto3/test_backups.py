"""boto3: backups, point-in-time recovery, export, import, bulk put, and the archive of docs/archive.md. What is exported is read by
Python's json and gzip, by PyArrow and by amazon.ion."""
import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import time
from decimal import Decimal

import amazon.ion.simpleion as ion
import boto3
import pyarrow.json
import pytest
from botocore.exceptions import ClientError
from conftest import KEYS
from test_capacity import CLOCK, advance, now

BUCKETS = pathlib.Path(os.environ["STATOR_BUCKETS"])
CLOCK_BUCKETS = pathlib.Path(os.environ["STATOR_CLOCK_BUCKETS"])
SIMPLE = dict(BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
              KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])


def until(what, get, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = get()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen")


def wait(db, what, table):
    db.get_waiter(what).wait(TableName=table, WaiterConfig={"Delay": 1})  # not 20 seconds


@pytest.fixture
def filled(client, name):
    """A table with 200 items and point-in-time recovery."""
    client.create_table(TableName=name, **SIMPLE)
    wait(client, "table_exists", name)
    client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7})
    for i in range(200):
        client.put_item(TableName=name, Item={
            "id": {"S": f"item {i}"}, "n": {"N": str(i)}, "d": {"N": "0.125"}, "b": {"B": b"\x00\x01"}, "ok": {"BOOL": True}, "nil": {"NULL": True},
            "ss": {"SS": ["a", "b"]}, "l": {"L": [{"S": "x"}, {"N": "600"}]}, "m": {"M": {"k": {"S": "ü"}}}})
    return name


def items(client, table):
    out = {}
    for page in client.get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            out[item["id"]["S"]] = item
    return out


def test_backup_and_restore(client, filled):
    before = items(client, filled)
    arn = client.create_backup(TableName=filled, BackupName="by-hand")["BackupDetails"]["BackupArn"]
    details = until("the backup", lambda: (lambda d: d if d["BackupDetails"]["BackupStatus"] == "AVAILABLE" else None)(
        client.describe_backup(BackupArn=arn)["BackupDescription"]))
    assert details["SourceTableDetails"]["ItemCount"] == 200 and details["BackupDetails"]["BackupSizeBytes"] > 0
    client.delete_table(TableName=filled)
    wait(client, "table_not_exists", filled)
    listed = [b for page in client.get_paginator("list_backups").paginate(TableName=filled, BackupType="ALL") for b in page["BackupSummaries"]]
    assert [b["BackupType"] for b in listed] == ["USER", "SYSTEM"]
    for backup in listed:
        restored = client.restore_table_from_backup(BackupArn=backup["BackupArn"], TargetTableName=filled)["TableDescription"]
        assert restored["RestoreSummary"]["SourceBackupArn"] == backup["BackupArn"] and restored["RestoreSummary"]["RestoreInProgress"]
        wait(client, "table_exists", filled)
        assert items(client, filled) == before
        assert "RestoreSummary" not in client.describe_table(TableName=filled)["Table"]
        client.delete_table(TableName=filled)
        wait(client, "table_not_exists", filled)
    client.delete_backup(BackupArn=arn)
    with pytest.raises(client.exceptions.BackupNotFoundException):
        client.describe_backup(BackupArn=arn)
    with pytest.raises(ClientError) as e:  # AWS keeps the backup of a deleted table for 35 days
        client.delete_backup(BackupArn=listed[1]["BackupArn"])
    assert e.value.response["Error"]["Code"] == "ValidationException"


def test_point_in_time(name):
    db = boto3.client("dynamodb", endpoint_url=CLOCK, **KEYS)
    db.create_table(TableName=name, **SIMPLE)
    wait(db, "table_exists", name)
    with pytest.raises(db.exceptions.PointInTimeRecoveryUnavailableException):
        db.restore_table_to_point_in_time(SourceTableName=name, TargetTableName=name + "-x", UseLatestRestorableTime=True)
    db.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    moments = []
    for i in range(5):
        db.put_item(TableName=name, Item={"id": {"S": "counter"}, "n": {"N": str(i)}})
        db.put_item(TableName=name, Item={"id": {"S": f"only in {i}"}})
        if i:
            db.delete_item(TableName=name, Key={"id": {"S": f"only in {i - 1}"}})
        advance("36h")
        moments.append(now())
        advance("1h")
    window = db.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert window["EarliestRestorableDateTime"] < moments[0] < moments[-1] < window["LatestRestorableDateTime"]
    for i, at in enumerate(moments):
        copy = f"{name}-{i}"
        db.restore_table_to_point_in_time(SourceTableName=name, TargetTableName=copy, RestoreDateTime=at)
        wait(db, "table_exists", copy)
        assert items(db, copy) == {"counter": {"id": {"S": "counter"}, "n": {"N": str(i)}}, f"only in {i}": {"id": {"S": f"only in {i}"}}}
    with pytest.raises(db.exceptions.InvalidRestoreTimeException):
        db.restore_table_to_point_in_time(SourceTableName=name, TargetTableName=name + "-x", RestoreDateTime=window["LatestRestorableDateTime"].replace(year=2040))


def export(db, table, **more):
    arn = db.describe_table(TableName=table)["Table"]["TableArn"]
    started = db.export_table_to_point_in_time(TableArn=arn, S3Bucket="exports", **more)["ExportDescription"]
    done = until("the export", lambda: (lambda d: d if d["ExportStatus"] != "IN_PROGRESS" else None)(
        db.describe_export(ExportArn=started["ExportArn"])["ExportDescription"]))
    assert done["ExportStatus"] == "COMPLETED", done
    return done


def files(bucket, done):
    """The raw content of an export's files; their checksums are right."""
    manifest = bucket / done["ExportManifest"]
    assert manifest.with_suffix(".md5").read_text() == base64.b64encode(hashlib.md5(manifest.read_bytes()).digest()).decode()
    summary = json.loads(manifest.read_text())
    out = []
    for line in (bucket / summary["manifestFilesS3Key"]).read_text().splitlines():
        part = json.loads(line)
        raw = (bucket / part["dataFileS3Key"]).read_bytes()
        assert base64.b64encode(hashlib.md5(raw).digest()).decode() == part["md5Checksum"]
        out.append(gzip.decompress(raw))
    assert summary["itemCount"] == done["ItemCount"]
    return out


def test_export_is_read_by_others(client, filled):
    want = items(client, filled)
    lines = b"".join(files(BUCKETS / "exports", export(client, filled, S3Prefix="json"))).splitlines()
    read = {json.loads(line)["Item"]["id"]["S"]: json.loads(line)["Item"] for line in lines}
    assert read.keys() == want.keys() and read["item 7"]["b"]["B"] == "AAE=" and read["item 7"]["n"] == {"N": "7"}
    table = pyarrow.json.read_json(io.BytesIO(b"\n".join(lines)))
    assert table.num_rows == 200 and table.column("Item").combine_chunks().field("n").field("N").to_pylist().count("42") == 1

    text = b"".join(files(BUCKETS / "exports", export(client, filled, S3Prefix="ion", ExportFormat="ION"))).decode()
    records = {str(v["Item"]["id"]): v["Item"] for v in ion.loads(text, single_value=False)}
    assert records.keys() == want.keys()
    item = records["item 7"]
    assert item["n"] == 7 and item["d"] == Decimal("0.125") and bytes(item["b"]) == b"\x00\x01" and bool(item["ok"]) is True
    assert [a.text for a in item["ss"].ion_annotations] == ["$dynamodb_SS"] and item["l"][1] == 600 and item["m"]["k"] == "ü"
    exports = [e for page in [client.list_exports(TableArn=client.describe_table(TableName=filled)["Table"]["TableArn"])] for e in page["ExportSummaries"]]
    assert {e["ExportStatus"] for e in exports} == {"COMPLETED"} and len(exports) == 2


def test_incremental_export(name):
    db = boto3.client("dynamodb", endpoint_url=CLOCK, **KEYS)
    db.create_table(TableName=name, **SIMPLE)
    wait(db, "table_exists", name)
    db.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    for i in range(10):
        db.put_item(TableName=name, Item={"id": {"S": str(i)}, "v": {"S": "old"}})
    advance("1h")
    start = now()
    db.put_item(TableName=name, Item={"id": {"S": "1"}, "v": {"S": "new"}})
    db.delete_item(TableName=name, Key={"id": {"S": "2"}})
    db.put_item(TableName=name, Item={"id": {"S": "10"}, "v": {"S": "added"}})
    advance("1h")
    end = now()
    db.put_item(TableName=name, Item={"id": {"S": "3"}, "v": {"S": "later"}})
    done = export(db, name, ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification={
        "ExportFromTime": start, "ExportToTime": end, "ExportViewType": "NEW_AND_OLD_IMAGES"})
    changes = {json.loads(line)["Keys"]["id"]["S"]: json.loads(line) for line in b"".join(files(CLOCK_BUCKETS / "exports", done)).splitlines()}
    assert changes.keys() == {"1", "2", "10"}
    assert changes["1"]["OldImage"]["v"]["S"] == "old" and changes["1"]["NewImage"]["v"]["S"] == "new"
    assert "NewImage" not in changes["2"] and "OldImage" not in changes["10"]
    assert start.timestamp() * 1e6 <= int(changes["1"]["Metadata"]["WriteTimestampMicros"]["N"]) < end.timestamp() * 1e6


def imported(client, **request):
    arn = client.import_table(**request)["ImportTableDescription"]["ImportArn"]
    return until("the import", lambda: (lambda d: d if d["ImportStatus"] != "IN_PROGRESS" else None)(
        client.describe_import(ImportArn=arn)["ImportTableDescription"]))


def put_object(key, body):
    file = BUCKETS / "imports" / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)


def test_import(client, name):
    put_object(f"{name}/rows.csv.gz", gzip.compress(b"id;name;n\n1;one;10\n2;two;20\n"))
    create = dict(TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                  AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}, {"AttributeName": "n", "AttributeType": "N"}],
                  GlobalSecondaryIndexes=[{"IndexName": "by-n", "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}])
    source = {"S3Bucket": "imports", "S3KeyPrefix": f"{name}/"}
    done = imported(client, S3BucketSource=source, InputFormat="CSV", InputCompressionType="GZIP", InputFormatOptions={"Csv": {"Delimiter": ";"}}, TableCreationParameters=create)
    assert done["ImportStatus"] == "COMPLETED" and done["ImportedItemCount"] == 2 and done["ErrorCount"] == 0, done
    wait(client, "table_exists", name)
    found = client.query(TableName=name, IndexName="by-n", KeyConditionExpression="n = :n", ExpressionAttributeValues={":n": {"N": "20"}})["Items"]
    assert found == [{"id": {"N": "2"}, "name": {"S": "two"}, "n": {"N": "20"}}]
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.import_table(S3BucketSource=source, InputFormat="CSV", TableCreationParameters=create)
    put_object(f"{name}-bad/x.json.gz", b"this is no gzip")
    failed = imported(client, S3BucketSource={"S3Bucket": "imports", "S3KeyPrefix": f"{name}-bad/"}, InputFormat="DYNAMODB_JSON", InputCompressionType="GZIP",
                      TableCreationParameters={**create, "TableName": name + "-bad"})
    assert failed["ImportStatus"] == "FAILED" and failed["FailureCode"]
    wait(client, "table_exists", name + "-bad")  # with the items of the objects that can be read: none
    assert client.scan(TableName=name + "-bad")["Count"] == 0
    assert {i["ImportStatus"] for i in client.list_imports()["ImportSummaryList"]} >= {"COMPLETED", "FAILED"}


def test_bulk_put(client, table, name):
    lines = [json.dumps({"Item": {"pk": {"S": "bulk"}, "sk": {"N": str(i)}, "city": {"S": "Lima"}, "score": {"N": "1"}}}) for i in range(100)] + ["{"]
    put_object(f"{name}/bulk.json", "\n".join(lines).encode())
    arn = client.start_bulk_put_items(
        TableName=table.name, InputS3Configuration={"S3Bucket": "imports", "S3KeyPrefix": f"{name}/", "InputFormat": "DYNAMODB_JSON"},
        OutputS3Configuration={"S3Bucket": "imports", "S3KeyPrefix": f"{name}-out", "OutputType": ["ERROR"]})["BulkOperationDescription"]["BulkOperationArn"]
    done = until("the bulk operation", lambda: (lambda d: d if d["BulkOperationStatus"] != "IN_PROGRESS" else None)(
        client.describe_bulk_operation(BulkOperationArn=arn)["BulkOperationDescription"]))
    assert done["BulkOperationStatus"] == "COMPLETED_WITH_ERRORS" and done["ProcessedItemCount"] == 101 and done["FailedItemCount"] == 1, done
    assert client.query(TableName=table.name, IndexName="by-city", KeyConditionExpression="city = :c", Select="COUNT",
                        ExpressionAttributeValues={":c": {"S": "Lima"}})["Count"] == 100
    reports = list((BUCKETS / "imports").glob(f"{name}-out/**/*.json"))
    assert len(reports) == 1 and json.loads(reports[0].read_text())["InputObject"]["RecordIndex"] == 100
    assert arn in [b["BulkOperationArn"] for b in client.list_bulk_operations()["BulkOperationsSummaryList"]]
    with pytest.raises(ClientError):
        client.cancel_bulk_operation(BulkOperationArn=arn)


def test_archive(client, name, tmp_path):
    """docs/archive.md: what TTL deletes goes to files, of which a table can be made again."""
    client.create_table(TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"}, **SIMPLE)
    wait(client, "table_exists", name)
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    past = str(int(time.time()) - 10)
    for i in range(30):
        client.put_item(TableName=name, Item={"id": {"S": str(i)}, "expires": {"N": past if i < 20 else "99999999999"}, "blob": {"B": b"\x00\xff"}})
    client.delete_item(TableName=name, Key={"id": {"S": "29"}})
    until("TTL", lambda: client.scan(TableName=name, Select="COUNT")["Count"] == 9)
    script = pathlib.Path(__file__).parents[3] / "docs" / "archive" / "archive.py"
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    run = [sys.executable, str(script), "--table", name, "--target", str(tmp_path), "--endpoint-url", os.environ["STATOR_ENDPOINT"], "--once",
           "--checkpoints", name + "-checkpoints"]
    for _ in range(2):  # the second finds nothing new
        subprocess.run(run, env=env, check=True, timeout=60)
    written = list(tmp_path.glob(f"{name}/day=*/*.json.gz"))
    archived = [json.loads(line)["Item"] for file in written for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert sorted(int(i["id"]["S"]) for i in archived) == list(range(20))
    for file in written:
        put_object(f"{name}-archive/{file.name}", file.read_bytes())
    done = imported(client, S3BucketSource={"S3Bucket": "imports", "S3KeyPrefix": f"{name}-archive/"}, InputFormat="DYNAMODB_JSON", InputCompressionType="GZIP",
                    TableCreationParameters={"TableName": name + "-again", **SIMPLE})
    assert done["ImportStatus"] == "COMPLETED" and done["ImportedItemCount"] == 20, done
    wait(client, "table_exists", name + "-again")
    assert client.get_item(TableName=name + "-again", Key={"id": {"S": "7"}})["Item"]["blob"]["B"] == b"\x00\xff"
