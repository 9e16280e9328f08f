"""boto3 against a real server: resource and client, conditions, paginators, waiters, batch_writer, transactions, errors."""
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError


def code(error):
    return error.value.response["Error"]["Code"]


def message(error):
    return error.value.response["Error"]["Message"]


def test_all_types_round_trip(table):
    item = {
        "pk": "types", "sk": Decimal("1"), "s": "héllo 😀", "empty": "", "n": Decimal("-123.456"),
        "big": Decimal("9" * 38), "small": Decimal("-1E-130"),
        "b": Binary(b"\x00\x01\xff"), "t": True, "f": False, "null": None, "ss": {"a", "b"}, "ns": {Decimal("1"), Decimal("2.5")},
        "bs": {Binary(b"x"), Binary(b"y")}, "l": [Decimal("1"), "two", [None]], "m": {"deep": {"er": [True]}},
    }
    table.put_item(Item=item)
    assert table.get_item(Key={"pk": "types", "sk": 1}, ConsistentRead=True)["Item"] == item


def test_crud_and_return_values(table):
    key = {"pk": "a", "sk": 1}
    assert "Item" not in table.get_item(Key=key)
    table.put_item(Item={**key, "v": 1})
    assert table.put_item(Item={**key, "v": 2}, ReturnValues="ALL_OLD")["Attributes"]["v"] == 1
    out = table.update_item(Key=key, UpdateExpression="SET v = v + :one, #l = list_append(if_not_exists(#l, :none), :x)",
                            ExpressionAttributeNames={"#l": "list"}, ExpressionAttributeValues={":one": 1, ":none": [], ":x": ["x"]},
                            ReturnValues="UPDATED_NEW")
    assert out["Attributes"] == {"v": 3, "list": ["x"]}
    assert table.delete_item(Key=key, ReturnValues="ALL_OLD")["Attributes"]["v"] == 3
    assert "Attributes" not in table.delete_item(Key=key, ReturnValues="ALL_OLD")


def test_conditions(table):
    table.put_item(Item={"pk": "c", "sk": 1, "version": 1}, ConditionExpression=Attr("pk").not_exists())
    with pytest.raises(table.meta.client.exceptions.ConditionalCheckFailedException) as e:
        table.put_item(Item={"pk": "c", "sk": 1}, ConditionExpression=Attr("pk").not_exists(), ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert e.value.response["Item"]["version"] == {"N": "1"}
    assert message(e) == "The conditional request failed"
    table.update_item(Key={"pk": "c", "sk": 1}, UpdateExpression="SET version = :new", ConditionExpression=Attr("version").eq(1),
                      ExpressionAttributeValues={":new": 2})
    with pytest.raises(ClientError) as e:
        table.update_item(Key={"pk": "c", "sk": 1}, UpdateExpression="SET version = :new", ConditionExpression=Attr("version").eq(1),
                          ExpressionAttributeValues={":new": 3})
    assert code(e) == "ConditionalCheckFailedException"


def test_query_scan_and_indexes(table):
    with table.batch_writer(overwrite_by_pkeys=["pk", "sk"]) as batch:
        for i in range(60):
            batch.put_item(Item={"pk": f"p{i % 3}", "sk": i, "score": 100 - i, "city": ["Oslo", "Rome"][i % 2], "text": "x" * 50})
    page = table.query(KeyConditionExpression=Key("pk").eq("p0") & Key("sk").between(10, 30))
    assert [int(i["sk"]) for i in page["Items"]] == [12, 15, 18, 21, 24, 27, 30]
    back = table.query(KeyConditionExpression=Key("pk").eq("p0"), ScanIndexForward=False, Limit=2)
    assert [int(i["sk"]) for i in back["Items"]] == [57, 54] and back["LastEvaluatedKey"] == {"pk": "p0", "sk": 54}
    lsi = table.query(IndexName="by-score", KeyConditionExpression=Key("pk").eq("p1") & Key("score").lt(50))
    assert [int(i["score"]) for i in lsi["Items"]] == sorted(100 - i for i in range(60) if i % 3 == 1 and 100 - i < 50)
    assert set(lsi["Items"][0]) == {"pk", "sk", "score"}
    gsi = table.query(IndexName="by-city", KeyConditionExpression=Key("city").eq("Rome"), FilterExpression=Attr("sk").gt(50))
    assert gsi["Count"] == 5 and gsi["ScannedCount"] == 30
    projected = table.query(KeyConditionExpression=Key("pk").eq("p0") & Key("sk").eq(0), ProjectionExpression="city, score")
    assert projected["Items"] == [{"city": "Oslo", "score": 100}]
    assert table.query(KeyConditionExpression=Key("pk").eq("p2"), Select="COUNT")["Count"] == 20


def test_paginators_and_segments(client, table):
    with table.batch_writer() as batch:
        for i in range(40):
            batch.put_item(Item={"pk": f"p{i}", "sk": 0})
    pages = list(client.get_paginator("scan").paginate(TableName=table.name, PaginationConfig={"PageSize": 7}))
    assert sum(p["Count"] for p in pages) == 40 and len(pages) >= 6
    seen = []
    for segment in range(4):
        for p in client.get_paginator("scan").paginate(TableName=table.name, Segment=segment, TotalSegments=4):
            seen += [i["pk"]["S"] for i in p["Items"]]
    assert sorted(seen) == sorted(f"p{i}" for i in range(40))
    names = [n for p in client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1}) for n in p["TableNames"]]
    assert table.name in names


def test_one_megabyte_pages(table):
    with table.batch_writer() as batch:
        for i in range(12):
            batch.put_item(Item={"pk": "big", "sk": i, "text": "x" * 200_000})
    first = table.query(KeyConditionExpression=Key("pk").eq("big"))
    assert 5 <= first["Count"] <= 6 and "LastEvaluatedKey" in first
    total, page = first["Count"], first
    while "LastEvaluatedKey" in page:
        page = table.query(KeyConditionExpression=Key("pk").eq("big"), ExclusiveStartKey=page["LastEvaluatedKey"])
        total += page["Count"]
    assert total == 12


def test_batches(client, resource, table):
    response = resource.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": {"pk": "b", "sk": i}}} for i in range(25)]})
    assert response["UnprocessedItems"] == {}
    got = resource.batch_get_item(RequestItems={table.name: {"Keys": [{"pk": "b", "sk": i} for i in range(30)], "ConsistentRead": True}})
    assert len(got["Responses"][table.name]) == 25 and got["UnprocessedKeys"] == {}
    with pytest.raises(ClientError) as e:
        client.batch_write_item(RequestItems={table.name: [{"DeleteRequest": {"Key": {"pk": {"S": "b"}, "sk": {"N": "1"}}}}] * 2})
    assert message(e) == "Provided list of item keys contains duplicates"


def test_transactions(client, table):
    put = lambda sk, **more: {"Put": {"TableName": table.name, "Item": {"pk": {"S": "tx"}, "sk": {"N": str(sk)}}, **more}}
    client.transact_write_items(TransactItems=[put(1), put(2)])
    with pytest.raises(client.exceptions.TransactionCanceledException) as e:
        client.transact_write_items(TransactItems=[put(3), put(1, ConditionExpression="attribute_not_exists(pk)")])
    assert [r["Code"] for r in e.value.response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    got = client.transact_get_items(TransactItems=[{"Get": {"TableName": table.name, "Key": {"pk": {"S": "tx"}, "sk": {"N": str(i)}}}} for i in (1, 2, 3)])
    assert ["Item" in r for r in got["Responses"]] == [True, True, False]
    token = "token-" + table.name
    add = [{"Update": {"TableName": table.name, "Key": {"pk": {"S": "tx"}, "sk": {"N": "9"}}, "UpdateExpression": "ADD hits :one",
                       "ExpressionAttributeValues": {":one": {"N": "1"}}}}]
    for _ in range(3):
        client.transact_write_items(TransactItems=add, ClientRequestToken=token[:36])
    assert table.get_item(Key={"pk": "tx", "sk": 9})["Item"]["hits"] == 1
    with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
        client.transact_write_items(TransactItems=[put(5)], ClientRequestToken=token[:36])


def test_contention_never_loses_updates(table):
    def hit(_):
        table.meta.client.update_item(TableName=table.name, Key={"pk": "hot", "sk": 0}, UpdateExpression="ADD hits :one", ExpressionAttributeValues={":one": 1})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hit, range(200)))
    assert table.get_item(Key={"pk": "hot", "sk": 0}, ConsistentRead=True)["Item"]["hits"] == 200


def test_consumed_capacity(table):
    put = table.put_item(Item={"pk": "cap", "sk": 1, "score": 5, "city": "Oslo", "text": "x" * 1500}, ReturnConsumedCapacity="INDEXES",
                         ReturnItemCollectionMetrics="SIZE")
    used = put["ConsumedCapacity"]
    assert used["Table"]["CapacityUnits"] == 2 and used["LocalSecondaryIndexes"]["by-score"]["CapacityUnits"] == 1
    assert used["GlobalSecondaryIndexes"]["by-city"]["CapacityUnits"] == 2 and used["CapacityUnits"] == 5
    assert put["ItemCollectionMetrics"]["ItemCollectionKey"] == {"pk": "cap"}
    assert table.get_item(Key={"pk": "cap", "sk": 1}, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"] == 0.5


def test_tables(client, name):
    client.create_table(TableName=name, BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
                        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "B"}], KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                        Tags=[{"Key": "team", "Value": "core"}], DeletionProtectionEnabled=True,
                        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    client.get_waiter("table_exists").wait(TableName=name)
    description = client.describe_table(TableName=name)["Table"]
    assert description["TableStatus"] == "ACTIVE" and description["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert description["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
    assert client.list_tags_of_resource(ResourceArn=description["TableArn"])["Tags"] == [{"Key": "team", "Value": "core"}]
    with pytest.raises(client.exceptions.ResourceInUseException) as e:
        client.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "B"}],
                            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])
    assert message(e) == f"Table already exists: {name}"
    with pytest.raises(ClientError) as e:
        client.delete_table(TableName=name)
    assert code(e) == "ValidationException"
    with pytest.raises(ClientError) as e:
        client.update_table(TableName=name, DeletionProtectionEnabled=False, BillingMode="PAY_PER_REQUEST")
    assert message(e).endswith("DeletionProtection modification must be the only operation in the request")
    client.update_table(TableName=name, DeletionProtectionEnabled=False)
    client.update_table(TableName=name, BillingMode="PAY_PER_REQUEST")
    assert client.describe_table(TableName=name)["Table"]["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name)
    assert client.describe_limits()["TableMaxReadCapacityUnits"] > 0
    assert client.describe_endpoints()["Endpoints"]


def test_errors(client, table):
    with pytest.raises(client.exceptions.ResourceNotFoundException) as e:
        client.get_item(TableName="no-such-table", Key={"id": {"S": "x"}})
    assert message(e) == "Requested resource not found"
    with pytest.raises(ClientError) as e:
        table.get_item(Key={"pk": "x"})
    assert (code(e), message(e)) == ("ValidationException", "The provided key element does not match the schema")
    with pytest.raises(ClientError) as e:
        client.list_global_tables()
    assert code(e) == "UnknownOperationException"
