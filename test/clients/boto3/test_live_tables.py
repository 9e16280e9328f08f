"""boto3: tables that live. Indexes created and deleted online, TTL, streams, PartiQL, tags, policies, and applies as Terraform's."""
import json
import os
import time
import urllib.request
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

CREDENTIALS = dict(region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
CLOCK = os.environ["STATOR_CLOCK_ENDPOINT"]  # a server whose clock the tests move


@pytest.fixture(scope="module")
def db():
    return boto3.client("dynamodb", endpoint_url=CLOCK, **CREDENTIALS)


@pytest.fixture(scope="module")
def streams():
    return boto3.client("dynamodbstreams", endpoint_url=CLOCK, **CREDENTIALS)


def advance(duration):
    """Moves the server's clock; what is due then is done when it returns."""
    with urllib.request.urlopen(CLOCK + "/_stator/clock", json.dumps({"advance": duration}).encode()) as answer:
        assert answer.status == 200


def now():
    with urllib.request.urlopen(CLOCK + "/_stator/clock") as answer:
        from datetime import datetime
        text = json.load(answer)["now"]
        return int(datetime.strptime(text.split(".")[0].rstrip("Z") + "+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp())


def wait_until(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("did not happen")


def refused(error, message, call, **kwargs):
    with pytest.raises(ClientError) as e:
        call(**kwargs)
    assert (e.value.response["Error"]["Code"], e.value.response["Error"]["Message"]) == (error, message)


@pytest.fixture
def name(db):
    name = "live-" + uuid.uuid4().hex[:12]
    db.create_table(TableName=name, BillingMode="PAY_PER_REQUEST",
                    AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}],
                    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    db.get_waiter("table_exists").wait(TableName=name)
    yield name
    db.delete_table(TableName=name)


def records(streams, arn):
    out = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        it = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while it:
            page = streams.get_records(ShardIterator=it, Limit=100)
            out += page["Records"]
            it = page.get("NextShardIterator")
            if not page["Records"]:
                break
    return out


def test_indexes_online(db, name):
    resource = boto3.resource("dynamodb", endpoint_url=CLOCK, **CREDENTIALS).Table(name)
    with resource.batch_writer() as batch:
        for i in range(500):
            batch.put_item(Item={"pk": f"p{i % 50}", "sk": i, "team": f"t{i % 5}", "points": i, "wrong": str(i) if i % 2 else i})
    out = db.update_table(TableName=name, AttributeDefinitions=[{"AttributeName": "team", "AttributeType": "S"}, {"AttributeName": "points", "AttributeType": "N"}],
                          GlobalSecondaryIndexUpdates=[{"Create": {"IndexName": "by-team", "Projection": {"ProjectionType": "ALL"}, "KeySchema": [
                              {"AttributeName": "team", "KeyType": "HASH"}, {"AttributeName": "points", "KeyType": "RANGE"}]}}])
    assert out["TableDescription"]["TableStatus"] == "UPDATING"

    def status(index):
        found = [x for x in db.describe_table(TableName=name)["Table"].get("GlobalSecondaryIndexes", []) if x["IndexName"] == index]
        return found[0]["IndexStatus"] if found else None

    wait_until(lambda: status("by-team") == "ACTIVE")
    page = db.query(TableName=name, IndexName="by-team", KeyConditionExpression="team = :t AND points >= :p",
                    ExpressionAttributeValues={":t": {"S": "t1"}, ":p": {"N": "400"}}, ScanIndexForward=False)
    assert [int(i["points"]["N"]) for i in page["Items"]] == list(range(496, 400, -5))
    db.update_table(TableName=name, AttributeDefinitions=[{"AttributeName": "wrong", "AttributeType": "S"}],
                    GlobalSecondaryIndexUpdates=[{"Create": {"IndexName": "by-wrong", "Projection": {"ProjectionType": "KEYS_ONLY"},
                                                             "KeySchema": [{"AttributeName": "wrong", "KeyType": "HASH"}]}}])
    wait_until(lambda: status("by-wrong") == "ACTIVE")
    assert db.scan(TableName=name, IndexName="by-wrong", Select="COUNT")["Count"] == 250
    refused("LimitExceededException", "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table", db.update_table,
            TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-team"}}, {"Delete": {"IndexName": "by-wrong"}}])
    db.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-wrong"}}])
    wait_until(lambda: status("by-wrong") is None)
    assert [a["AttributeName"] for a in db.describe_table(TableName=name)["Table"]["AttributeDefinitions"]] == ["pk", "points", "sk", "team"]


def test_ttl(db, streams, name):
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    spec = {"Enabled": True, "AttributeName": "expires"}
    assert db.update_time_to_live(TableName=name, TimeToLiveSpecification=spec)["TimeToLiveSpecification"] == spec
    wait_until(lambda: db.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"})
    refused("ValidationException", "TimeToLive is already enabled", db.update_time_to_live, TableName=name, TimeToLiveSpecification=spec)
    refused("ValidationException", "Time to live has been modified multiple times within a fixed interval", db.update_time_to_live,
            TableName=name, TimeToLiveSpecification={**spec, "Enabled": False})
    db.put_item(TableName=name, Item={"pk": {"S": "soon"}, "sk": {"N": "1"}, "expires": {"N": str(now() + 600)}})
    db.put_item(TableName=name, Item={"pk": {"S": "late"}, "sk": {"N": "1"}, "expires": {"N": str(now() + 86400 * 300)}})
    db.put_item(TableName=name, Item={"pk": {"S": "text"}, "sk": {"N": "1"}, "expires": {"S": str(now() - 600)}})
    advance("11m")
    assert {i["pk"]["S"] for i in db.scan(TableName=name)["Items"]} == {"late", "text"}
    removed = [r for r in records(streams, arn) if r["eventName"] == "REMOVE"]
    assert [(r["userIdentity"], r["dynamodb"]["Keys"]["pk"]["S"]) for r in removed] == [({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}, "soon")]
    advance("1h")
    db.update_time_to_live(TableName=name, TimeToLiveSpecification={**spec, "Enabled": False})
    wait_until(lambda: db.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "DISABLED"})


def test_streams(db, streams, name):
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    assert streams.list_streams(TableName=name)["Streams"] == [{"StreamArn": arn, "TableName": name, "StreamLabel": arn.split("/")[-1]}]
    key = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    db.put_item(TableName=name, Item={**key, "v": {"N": "1"}})
    db.put_item(TableName=name, Item={**key, "v": {"N": "1"}})
    db.update_item(TableName=name, Key=key, UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": {"N": "2"}})
    db.delete_item(TableName=name, Key=key)
    got = records(streams, arn)
    assert [r["eventName"] for r in got] == ["INSERT", "MODIFY", "REMOVE"]
    assert got[1]["dynamodb"]["OldImage"]["v"] == {"N": "1"} and got[1]["dynamodb"]["NewImage"]["v"] == {"N": "2"}
    numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in got]
    assert numbers == sorted(set(numbers))
    first = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    it = streams.get_shard_iterator(StreamArn=arn, ShardId=first, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    advance("16m")
    with pytest.raises(streams.exceptions.ExpiredIteratorException):
        streams.get_records(ShardIterator=it)
    advance("4h")
    children = streams.describe_stream(StreamArn=arn, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": first})["StreamDescription"]["Shards"]
    assert [c["ParentShardId"] for c in children] == [first]
    advance("21h")
    with pytest.raises(streams.exceptions.TrimmedDataAccessException):
        streams.get_shard_iterator(StreamArn=arn, ShardId=first, ShardIteratorType="AT_SEQUENCE_NUMBER", SequenceNumber=str(numbers[0]))
    db.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    assert streams.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"] == "DISABLED"
    again = db.update_table(TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})["TableDescription"]["LatestStreamArn"]
    assert again != arn and len(streams.list_streams(TableName=name)["Streams"]) == 2
    advance("25h")
    with pytest.raises(streams.exceptions.ResourceNotFoundException):
        streams.describe_stream(StreamArn=arn)


def test_partiql(db, name):
    for i in range(10):
        db.execute_statement(Statement=f'INSERT INTO "{name}" VALUE {{\'pk\': ?, \'sk\': ?, \'v\': ?}}',
                             Parameters=[{"S": "a" if i < 7 else "b"}, {"N": str(i)}, {"N": str(i * i)}])
    with pytest.raises(db.exceptions.DuplicateItemException):
        db.execute_statement(Statement=f"INSERT INTO \"{name}\" VALUE {{'pk': 'a', 'sk': 1}}")
    token, got = None, []
    while True:
        page = db.execute_statement(Statement=f'SELECT sk, v FROM "{name}" WHERE pk = ? AND sk > 1', Parameters=[{"S": "a"}], Limit=2, **({"NextToken": token} if token else {}))
        got += [int(i["sk"]["N"]) for i in page["Items"]]
        token = page.get("NextToken")
        if not token:
            break
    assert got == [2, 3, 4, 5, 6]
    out = db.execute_statement(Statement=f"UPDATE \"{name}\" SET v = v + 1 REMOVE x WHERE pk = 'a' AND sk = 2 RETURNING ALL NEW *", ReturnConsumedCapacity="TOTAL")
    assert out["Items"][0]["v"] == {"N": "5"} and out["ConsumedCapacity"]["CapacityUnits"] == 1
    out = db.batch_execute_statement(Statements=[{"Statement": f"SELECT v FROM \"{name}\" WHERE pk = 'a' AND sk = 3"}, {"Statement": f"SELECT v FROM \"{name}\" WHERE pk = 'a'"}])
    assert out["Responses"][0]["Item"] == {"v": {"N": "9"}} and out["Responses"][1]["Error"]["Code"] == "ValidationError"
    db.execute_transaction(TransactStatements=[
        {"Statement": f"EXISTS(SELECT * FROM \"{name}\" WHERE pk = 'a' AND sk = 3 AND v = 9)"},
        {"Statement": f"DELETE FROM \"{name}\" WHERE pk = 'b' AND sk = 7"}])
    with pytest.raises(db.exceptions.TransactionCanceledException) as e:
        db.execute_transaction(TransactStatements=[
            {"Statement": f"EXISTS(SELECT * FROM \"{name}\" WHERE pk = 'a' AND sk = 3 AND v = 10)"},
            {"Statement": f"DELETE FROM \"{name}\" WHERE pk = 'b' AND sk = 8"}])
    assert [r["Code"] for r in e.value.response["CancellationReasons"]] == ["ConditionalCheckFailed", "None"]
    assert len(db.execute_statement(Statement=f'SELECT * FROM "{name}" WHERE pk = \'b\'')["Items"]) == 2


def test_tags_and_policies(db, name):
    arn = db.describe_table(TableName=name)["Table"]["TableArn"]
    db.tag_resource(ResourceArn=arn, Tags=[{"Key": f"k{i:02}", "Value": str(i)} for i in range(50)])
    refused("ValidationException", "Number of Tags exceed the current limit for the provided ResourceArn", db.tag_resource, ResourceArn=arn, Tags=[{"Key": "one", "Value": "more"}])
    tags = [t for page in db.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn) for t in page["Tags"]]
    assert len(tags) == 50
    db.untag_resource(ResourceArn=arn, TagKeys=[t["Key"] for t in tags])
    assert db.list_tags_of_resource(ResourceArn=arn)["Tags"] == []
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "dynamodb:GetItem", "Resource": arn}]})
    with pytest.raises(db.exceptions.PolicyNotFoundException):
        db.get_resource_policy(ResourceArn=arn)
    first = db.put_resource_policy(ResourceArn=arn, Policy=policy, ExpectedRevisionId="NO_POLICY")["RevisionId"]
    assert db.put_resource_policy(ResourceArn=arn, Policy=policy)["RevisionId"] == first
    got = db.get_resource_policy(ResourceArn=arn)
    assert (json.loads(got["Policy"]), got["RevisionId"]) == (json.loads(policy), first)
    with pytest.raises(db.exceptions.PolicyNotFoundException):
        db.put_resource_policy(ResourceArn=arn, Policy=policy, ExpectedRevisionId="123")
    with pytest.raises(ClientError) as e:
        db.put_resource_policy(ResourceArn=arn, Policy='{"Statement": []}')
    assert e.value.response["Error"]["Code"] == "ValidationException"
    assert db.delete_resource_policy(ResourceArn=arn, ExpectedRevisionId=first)["RevisionId"] == first
    db.delete_resource_policy(ResourceArn=arn)


def test_what_is_not_there_says_so(db, name):
    assert db.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"] == {
        "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}}
    refused("TableNotFoundException", "Table not found: no-such-table", db.describe_continuous_backups, TableName="no-such-table")
    assert db.describe_contributor_insights(TableName=name)["ContributorInsightsStatus"] == "DISABLED"
    refused("UnknownOperationException", "DescribeKinesisStreamingDestination is not supported by this endpoint", db.describe_kinesis_streaming_destination, TableName=name)


class Apply:
    """Brings a table to a wished state, as infrastructure tools do: what is there is described, and only differences are changed."""

    def __init__(self, db, want):
        self.db, self.want, self.changes = db, want, []

    def change(self, call, **kwargs):
        self.changes.append(call)
        getattr(self.db, call)(**kwargs)
        wait_until(lambda: self.settled())

    def settled(self):
        t = self.db.describe_table(TableName=self.want["TableName"])["Table"]
        ttl = self.db.describe_time_to_live(TableName=self.want["TableName"])["TimeToLiveDescription"]["TimeToLiveStatus"]
        return t["TableStatus"] == "ACTIVE" and all(x["IndexStatus"] == "ACTIVE" for x in t.get("GlobalSecondaryIndexes", [])) and ttl in ("ENABLED", "DISABLED")

    def run(self):
        db, want, name = self.db, self.want, self.want["TableName"]
        create = {k: want[k] for k in ("TableName", "AttributeDefinitions", "KeySchema", "BillingMode", "LocalSecondaryIndexes", "GlobalSecondaryIndexes",
                                       "StreamSpecification", "DeletionProtectionEnabled", "TableClass", "Tags")}
        try:
            db.describe_table(TableName=name)
        except db.exceptions.ResourceNotFoundException:
            self.change("create_table", **create)
        t = db.describe_table(TableName=name)["Table"]
        index = lambda x: {k: x[k] for k in ("IndexName", "KeySchema", "Projection")}
        have = {x["IndexName"]: index(x) for x in t.get("GlobalSecondaryIndexes", [])}
        wish = {x["IndexName"]: x for x in want["GlobalSecondaryIndexes"]}
        for gone in [n for n in have if have[n] != wish.get(n)]:
            self.change("update_table", TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": gone}}])
        for new in [n for n in wish if have.get(n) != wish[n]]:
            self.change("update_table", TableName=name, AttributeDefinitions=want["AttributeDefinitions"], GlobalSecondaryIndexUpdates=[{"Create": wish[new]}])
        if t.get("StreamSpecification") != want["StreamSpecification"]:
            if t.get("StreamSpecification"):
                self.change("update_table", TableName=name, StreamSpecification={"StreamEnabled": False})
            self.change("update_table", TableName=name, StreamSpecification=want["StreamSpecification"])
        for setting in ("DeletionProtectionEnabled",):
            if t[setting] != want[setting]:
                self.change("update_table", TableName=name, **{setting: want[setting]})
        if t.get("TableClassSummary", {}).get("TableClass", "STANDARD") != want["TableClass"]:
            self.change("update_table", TableName=name, TableClass=want["TableClass"])
        ttl = db.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if ttl.get("AttributeName") != want["TTL"]:
            if ttl["TimeToLiveStatus"] == "ENABLED":
                self.change("update_time_to_live", TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": ttl["AttributeName"]})
                advance("1h")
            self.change("update_time_to_live", TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": want["TTL"]})
        tags = {x["Key"]: x["Value"] for x in db.list_tags_of_resource(ResourceArn=t["TableArn"])["Tags"]}
        wished = {x["Key"]: x["Value"] for x in want["Tags"]}
        if tags != wished:
            if set(tags) - set(wished):
                self.change("untag_resource", ResourceArn=t["TableArn"], TagKeys=list(set(tags) - set(wished)))
            self.change("tag_resource", ResourceArn=t["TableArn"], Tags=want["Tags"])
        return self.changes


def test_applies(db):
    attr = lambda *names: [{"AttributeName": n.split(":")[0], "AttributeType": n.split(":")[1]} for n in names]
    key = lambda *names: [{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE"))]
    want = {
        "TableName": "apply-" + uuid.uuid4().hex[:12], "BillingMode": "PAY_PER_REQUEST", "TableClass": "STANDARD",
        "AttributeDefinitions": attr("g:S", "l:N", "pk:S", "sk:S"), "KeySchema": key("pk", "sk"),
        "LocalSecondaryIndexes": [{"IndexName": "local", "KeySchema": key("pk", "l"), "Projection": {"ProjectionType": "KEYS_ONLY"}}],
        "GlobalSecondaryIndexes": [{"IndexName": "zeta", "KeySchema": key("g", "sk"), "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "z"]}},
                                   {"IndexName": "alpha", "KeySchema": key("g"), "Projection": {"ProjectionType": "ALL"}}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}, "DeletionProtectionEnabled": True,
        "TTL": "expires", "Tags": [{"Key": "b", "Value": "1"}, {"Key": "a", "Value": "2"}],
    }
    assert Apply(db, want).run() == ["create_table", "update_time_to_live"]
    t = db.describe_table(TableName=want["TableName"])["Table"]
    assert t["AttributeDefinitions"] == want["AttributeDefinitions"] and t["KeySchema"] == want["KeySchema"]
    assert [x["IndexName"] for x in t["GlobalSecondaryIndexes"]] == ["zeta", "alpha"]
    assert t["GlobalSecondaryIndexes"][0]["Projection"] == want["GlobalSecondaryIndexes"][0]["Projection"]
    assert t["LocalSecondaryIndexes"][0]["KeySchema"] == want["LocalSecondaryIndexes"][0]["KeySchema"]
    assert Apply(db, want).run() == []
    refused("ValidationException", "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
            db.delete_table, TableName=want["TableName"])
    advance("1h")
    want.update({
        "AttributeDefinitions": attr("pk:S", "sk:S", "l:N", "g:S", "h:N"), "TableClass": "STANDARD_INFREQUENT_ACCESS",
        "GlobalSecondaryIndexes": [want["GlobalSecondaryIndexes"][1], {"IndexName": "beta", "KeySchema": key("h", "g"), "Projection": {"ProjectionType": "ALL"}}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}, "DeletionProtectionEnabled": False,
        "TTL": "until", "Tags": [{"Key": "a", "Value": "3"}],
    })
    assert len(Apply(db, want).run()) == 10
    assert Apply(db, want).run() == []
    db.delete_table(TableName=want["TableName"])
