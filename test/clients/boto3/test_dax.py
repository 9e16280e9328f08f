"""amazon-dax-client against the DAX endpoint in STATOR_DAX_ENDPOINT: the same requests as through boto3, and the same answers."""
import os
import uuid
from decimal import Decimal

import boto3
import pytest
from amazondax import AmazonDaxClient
from botocore.exceptions import ClientError

from conftest import KEYS

DAX = os.environ["STATOR_DAX_ENDPOINT"]


@pytest.fixture(scope="module")
def dax():
    with AmazonDaxClient(endpoint_url=DAX, **KEYS) as c:
        yield c


@pytest.fixture(scope="module")
def both(client, dax):
    """Runs a request through boto3 and through DAX, each with a table of its own, and compares."""
    base = "pydax-" + uuid.uuid4().hex[:10]
    tables = {id(client): base + "-sdk", id(dax): base + "-dax"}
    for name in tables.values():
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in (("pk", "S"), ("sk", "N"), ("g", "S"), ("l", "B"))],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            GlobalSecondaryIndexes=[{"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}],
            LocalSecondaryIndexes=[{"IndexName": "by-l", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
                                    "Projection": {"ProjectionType": "KEYS_ONLY"}}],
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})

    def run(call):
        answers = []
        for db in (client, dax):
            name = tables[id(db)]
            try:
                answer = call(db, name)
            except ClientError as e:
                answer = {"code": e.response["Error"]["Code"], "message": e.response["Error"]["Message"]}
            answers.append(canonical(answer, base))
        assert answers[1] == answers[0]
        return answers[1]

    return run


def canonical(v, base):
    """Numbers are numbers, lists of scalars are sets, what is empty is nothing, and the tables have one name."""
    if isinstance(v, dict):
        if set(v) == {"N"}:
            return Decimal(v["N"])
        if set(v) == {"NS"}:
            return sorted(Decimal(n) for n in v["NS"])
        out = {k.replace(base + "-sdk", "T").replace(base + "-dax", "T"): canonical(x, base) for k, x in v.items() if k != "ResponseMetadata"}
        return {k: x for k, x in out.items() if x not in ({}, [])}
    if isinstance(v, list):
        v = [canonical(x, base) for x in v]
        return sorted(v) if all(isinstance(x, (str, bytes)) for x in v) else v
    if isinstance(v, str):
        return v.replace(base + "-sdk", "T").replace(base + "-dax", "T")
    return v


EVERYTHING = {
    "s": {"S": "text ä €"}, "empty": {"S": ""}, "n": {"N": "42"}, "dcm": {"N": "3.25"}, "big": {"N": "12345678901234567890123456789012345678"}, "tiny": {"N": "1E-100"},
    "b": {"B": b"\x00\xff"}, "t": {"BOOL": True}, "f": {"BOOL": False}, "null": {"NULL": True}, "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2.5"]},
    "bs": {"BS": [b"\x01", b"\x02"]}, "l1": {"L": [{"N": "1"}, {"S": "x"}, {"M": {"q": {"N": "2"}}}]}, "m": {"M": {"k": {"S": "v"}, "deep": {"M": {"er": {"N": "3"}}}}},
    "count": {"N": "1"},
}


def key(pk, sk):
    return {"pk": {"S": pk}, "sk": {"N": str(sk)}}


def twice(call):
    """Reads a second time from the cache, or from that of another node, which may have another order in sets."""
    def result(answer):
        return canonical({k: v for k, v in answer.items() if k != "ConsumedCapacity"}, "")

    def run(db, t):
        first = call(db, t)
        assert result(call(db, t)) == result(first)
        return first
    return run


def test_items(both):
    both(lambda db, t: db.put_item(TableName=t, Item={**key("a", 1), **EVERYTHING}))
    both(lambda db, t: db.put_item(TableName=t, Item=key("a", 2), ReturnConsumedCapacity="TOTAL"))
    both(lambda db, t: db.put_item(TableName=t, Item={**key("a", 2), "x": {"N": "1"}}, ReturnValues="ALL_OLD", ReturnItemCollectionMetrics="SIZE"))
    got = both(twice(lambda db, t: db.get_item(TableName=t, Key=key("a", 1))))
    assert got["Item"]["n"] == 42
    assert "Item" not in both(twice(lambda db, t: db.get_item(TableName=t, Key=key("nothing", 1))))
    both(twice(lambda db, t: db.get_item(TableName=t, Key=key("a", 1), ConsistentRead=True, ReturnConsumedCapacity="INDEXES")))
    both(twice(lambda db, t: db.get_item(TableName=t, Key=key("a", 1), ProjectionExpression="s, m.deep.er, l1[2].q, #c", ExpressionAttributeNames={"#c": "count"})))
    for values in ("NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"):
        both(lambda db, t: db.update_item(
            TableName=t, Key=key("a", 1), UpdateExpression="SET l1[0] = if_not_exists(nope, :w), #c = #c + :w, m.k = :s REMOVE dcm ADD n :w, ss :ss DELETE ns :ns",
            ExpressionAttributeNames={"#c": "count"}, ReturnValues=values,
            ExpressionAttributeValues={":w": {"N": "3"}, ":s": {"S": values}, ":ss": {"SS": ["c"]}, ":ns": {"NS": ["1"]}}))
        both(twice(lambda db, t: db.get_item(TableName=t, Key=key("a", 1))))
    both(lambda db, t: db.delete_item(TableName=t, Key=key("a", 2), ReturnValues="ALL_OLD", ReturnConsumedCapacity="INDEXES"))
    both(lambda db, t: db.get_item(TableName=t, Key=key("a", 2)))


def test_legacy_parameters(both):
    both(lambda db, t: db.put_item(TableName=t, Item={**key("legacy", 1), "x": {"N": "1"}, "y": {"S": "b"}}))
    both(lambda db, t: db.get_item(TableName=t, Key=key("legacy", 1), AttributesToGet=["x"]))
    both(lambda db, t: db.update_item(TableName=t, Key=key("legacy", 1), AttributeUpdates={"x": {"Action": "ADD", "Value": {"N": "2"}}}, ReturnValues="ALL_NEW"))
    both(lambda db, t: db.put_item(TableName=t, Item=key("legacy", 1), Expected={"x": {"Value": {"N": "9"}}}))
    both(lambda db, t: db.query(TableName=t, KeyConditions={"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "legacy"}]}}))
    both(lambda db, t: db.scan(TableName=t, ScanFilter={"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "legacy"}]}}))


def test_errors(both, client, dax):
    both(lambda db, t: db.put_item(TableName=t, Item=key("e", 1)))
    failed = both(lambda db, t: db.put_item(TableName=t, Item=key("e", 1), ConditionExpression="attribute_not_exists(pk)"))
    assert failed["code"] == "ConditionalCheckFailedException"
    failed = both(lambda db, t: db.get_item(TableName="there-is-no-such-table", Key=key("e", 1)))
    assert failed["code"] == "ResourceNotFoundException"
    assert both(lambda db, t: db.update_item(TableName=t, Key=key("e", 1), UpdateExpression="SET sk = :x", ExpressionAttributeValues={":x": {"N": "1"}}))["code"] == "ValidationException"
    both(lambda db, t: db.query(TableName=t, KeyConditionExpression="sk = :x", ExpressionAttributeValues={":x": {"N": "1"}}))
    both(lambda db, t: db.query(TableName=t, IndexName="nope", KeyConditionExpression="pk = :x", ExpressionAttributeValues={":x": {"S": "1"}}))
    both(lambda db, t: db.scan(TableName=t, Segment=5, TotalSegments=2))
    both(lambda db, t: db.put_item(TableName=t, Item={**key("e", 1), "g": {"S": ""}}))
    with pytest.raises(ClientError) as e:
        dax.get_item(TableName="there-is-no-such-table", Key=key("e", 1))
    assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_queries_and_scans(both):
    for n in ("0", "1", "-1", "12", "100", "-0.5", "3.14", "1E20", "-123456789"):
        both(lambda db, t: db.put_item(TableName=t, Item={**key("q", n), "g": {"S": "g1"}, "l": {"B": b"l" + n.encode()}}))
    values = {":p": {"S": "q"}}
    for more in ({}, {"ScanIndexForward": False}, {"Select": "COUNT"}, {"FilterExpression": "l > :l", "ExpressionAttributeValues": {**values, ":l": {"B": b"l1"}}},
                 {"ProjectionExpression": "sk, #g", "ExpressionAttributeNames": {"#g": "g"}}, {"IndexName": "by-l"}, {"ConsistentRead": True, "ReturnConsumedCapacity": "TOTAL"},
                 {"KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b", "ExpressionAttributeValues": {**values, ":a": {"N": "-1"}, ":b": {"N": "12"}}}):
        got = both(twice(lambda db, t: db.query(**{"TableName": t, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": values, **more})))
        assert got["Count"] > 0
    both(twice(lambda db, t: db.query(TableName=t, IndexName="by-g", KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": {"S": "g1"}})))
    for index in ({}, {"IndexName": "by-g"}):
        def pages(db, t):
            out, start = [], {}
            while True:
                page = db.scan(TableName=t, Limit=3, FilterExpression="pk = :p", ExpressionAttributeValues=values, **index, **start)
                out += page["Items"]
                if "LastEvaluatedKey" not in page:
                    return {"Items": out}
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        assert len(both(pages)["Items"]) == 9
    both(twice(lambda db, t: db.scan(TableName=t, Segment=0, TotalSegments=2)))


def test_batches(both):
    both(lambda db, t: db.batch_write_item(RequestItems={t: [
        {"PutRequest": {"Item": {**key("b", 1), **EVERYTHING}}}, {"PutRequest": {"Item": key("b", 2)}}, {"DeleteRequest": {"Key": key("b", 3)}},
    ]}, ReturnConsumedCapacity="TOTAL", ReturnItemCollectionMetrics="SIZE"))

    def batch(**more):
        def run(db, t):
            out = db.batch_get_item(RequestItems={t: {"Keys": [key("b", 1), key("b", 2), key("nothing", 1)], **more}})
            return {"Items": sorted(out["Responses"][t], key=str), "Unprocessed": out["UnprocessedKeys"]}
        return run
    assert len(both(twice(batch()))["Items"]) == 2
    both(twice(batch(ConsistentRead=True)))
    both(twice(batch(ProjectionExpression="m.k, pk")))


def test_transactions(both, dax, client):
    both(lambda db, t: db.transact_write_items(TransactItems=[
        {"Put": {"TableName": t, "Item": {**key("t", 1), **EVERYTHING}}},
        {"Update": {"TableName": t, "Key": key("t", 2), "UpdateExpression": "SET x = :x", "ExpressionAttributeValues": {":x": {"N": "5"}}}},
        {"Delete": {"TableName": t, "Key": key("t", 3)}},
        {"ConditionCheck": {"TableName": t, "Key": key("t", 4), "ConditionExpression": "attribute_not_exists(pk)"}},
    ], ReturnConsumedCapacity="TOTAL"))
    got = both(lambda db, t: db.transact_get_items(TransactItems=[
        {"Get": {"TableName": t, "Key": key("t", 1)}}, {"Get": {"TableName": t, "Key": key("t", 2), "ProjectionExpression": "x"}}, {"Get": {"TableName": t, "Key": key("t", 3)}},
    ]))
    assert got["Responses"][1]["Item"] == {"x": 5}
    assert both(lambda db, t: db.transact_write_items(TransactItems=[
        {"Put": {"TableName": t, "Item": key("t", 9)}},
        {"ConditionCheck": {"TableName": t, "Key": key("t", 1), "ConditionExpression": "attribute_not_exists(pk)"}},
    ]))["code"] == "TransactionCanceledException"


def test_resource(table):
    """The resource interface over DAX, as its documentation shows it."""
    with AmazonDaxClient.resource(endpoint_url=DAX, **KEYS) as dynamodb:
        t = dynamodb.Table(table.name)
        t.put_item(Item={"pk": "r", "sk": 1, "city": "Rome", "score": Decimal("1.5")})
        assert t.get_item(Key={"pk": "r", "sk": 1})["Item"]["score"] == Decimal("1.5")
        table.put_item(Item={"pk": "r", "sk": 1, "city": "Paris"})  # around the cache
        assert t.get_item(Key={"pk": "r", "sk": 1})["Item"]["city"] == "Rome"
        assert t.get_item(Key={"pk": "r", "sk": 1}, ConsistentRead=True)["Item"]["city"] == "Paris"


def test_control_plane(client):
    """A cluster from its creation to its end, as boto3's paginators and shapes have it."""
    dax = boto3.client("dax", endpoint_url=os.environ["STATOR_ENDPOINT"], **KEYS)
    name = "c" + uuid.uuid4().hex[:12]
    group = name + "-params"
    dax.create_parameter_group(ParameterGroupName=group, Description="short")
    dax.update_parameter_group(ParameterGroupName=group, ParameterNameValues=[{"ParameterName": "record-ttl-millis", "ParameterValue": "600000"}])
    assert {p["ParameterName"]: p["ParameterValue"] for p in dax.describe_parameters(ParameterGroupName=group)["Parameters"]} == {
        "record-ttl-millis": "600000", "query-ttl-millis": "300000"}
    created = dax.create_cluster(ClusterName=name, NodeType="dax.r5.large", ReplicationFactor=2, IamRoleArn="arn:aws:iam::123456789012:role/DAX", ParameterGroupName=group,
                                 Tags=[{"Key": "team", "Value": "a"}])["Cluster"]
    assert created["Status"] == "creating" and created["TotalNodes"] == 2
    cluster = dax.describe_clusters(ClusterNames=[name])["Clusters"][0]
    assert cluster["Status"] == "available" and len(cluster["Nodes"]) == 2 and cluster["ParameterGroup"]["ParameterGroupName"] == group
    assert name in [c["ClusterName"] for page in dax.get_paginator("describe_clusters").paginate() for c in page["Clusters"]]
    table = "t-" + name
    client.create_table(TableName=table, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}])
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    with AmazonDaxClient(endpoint_url=cluster["ClusterDiscoveryEndpoint"]["URL"], **KEYS) as accelerated:
        accelerated.put_item(TableName=table, Item={"pk": {"S": "a"}, "x": {"N": "1"}})
        assert accelerated.get_item(TableName=table, Key={"pk": {"S": "a"}})["Item"]["x"] == {"N": "1"}
    assert dax.list_tags(ResourceName=cluster["ClusterArn"])["Tags"] == [{"Key": "team", "Value": "a"}]
    assert any(name + "-a" in e["Message"] for e in dax.describe_events(SourceName=name, SourceType="CLUSTER", Duration=60)["Events"])
    with pytest.raises(dax.exceptions.InvalidParameterGroupStateFault):
        dax.delete_parameter_group(ParameterGroupName=group)
    assert dax.delete_cluster(ClusterName=name)["Cluster"]["Status"] == "deleting"
    dax.delete_parameter_group(ParameterGroupName=group)
    with pytest.raises(dax.exceptions.ClusterNotFoundFault):
        dax.describe_clusters(ClusterNames=[name])
