"""IAM, STS and resource policies by boto3: what each kind of policy allows, and AWS's refusals word for word."""
import json
import os
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone

import boto3
import pytest
from amazondax import AmazonDaxClient
from amazondax.DaxError import DaxClientError
from botocore.config import Config
from botocore.exceptions import ClientError

AUTH = os.environ["STATOR_AUTH_ENDPOINT"]
TLS = os.environ["STATOR_TLS_ENDPOINT"]
CLOCK = os.environ["STATOR_CLOCK_ENDPOINT"]
ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
ROOT, OTHER_ROOT = ("AKIDKNOWN", "known-secret"), ("AKIDOTHER", "other-secret")
NO_CLAIM = "because no identity-based policy allows the {} action"


def connect(service, keys, endpoint=AUTH, **config):
    """A client; keys are an access key, its secret and, for a session, its token."""
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}, **config), verify=os.environ["STATOR_TLS_CA"],
                        **dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), keys)))


def session_keys(answer):
    c = answer["Credentials"]
    return c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"]


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect, action, resource=None, principal=None, **condition):
    out = {"Effect": effect, "Action": action, "Resource": resource, "Principal": principal, "Condition": {k.replace("__", ":"): v for k, v in condition.items()}}
    return {k: v for k, v in out.items() if v}


def allow(*args, **condition):
    return statement("Allow", *args, **condition)


def deny(*args, **condition):
    return statement("Deny", *args, **condition)


def trust(principal, **condition):
    return policy(allow("sts:AssumeRole", None, principal, **condition))


def refusal(call, **request):
    """The code and the message of an error."""
    with pytest.raises(ClientError) as e:
        call(**request)
    return e.value.response["Error"]["Code"], e.value.response["Error"]["Message"]


def denied(arn, action, resource, reason=NO_CLAIM, code="AccessDeniedException"):
    return code, f"User: {arn} is not authorized to perform: {action} on resource: {resource} {reason.format(action)}".strip()


def s(text):
    return {"S": text}


def key(pk, sk="1"):
    return {"pk": s(pk), "sk": s(sk)}


def short():
    return uuid.uuid4().hex[:10]


@pytest.fixture(scope="module")
def iam():
    return connect("iam", ROOT)


class Person:
    """A user with an access key."""

    def __init__(self, iam, name, *statements, **create):
        self.iam, self.name, self.account = iam, name, ACCOUNT
        self.arn = iam.create_user(UserName=name, **create)["User"]["Arn"]
        self.allow(*statements)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        self.keys = made["AccessKeyId"], made["SecretAccessKey"]

    def allow(self, *statements):
        """Replaces the user's inline policy."""
        if statements:
            self.iam.put_user_policy(UserName=self.name, PolicyName="own", PolicyDocument=policy(*statements))

    def connect(self, service="dynamodb", endpoint=AUTH):
        return connect(service, self.keys, endpoint)


@pytest.fixture
def person(iam):
    return lambda *statements, **create: Person(iam, "u-" + short(), *statements, **create)


@pytest.fixture
def role(iam):
    """Makes roles; returns their ARN."""
    def make(trusted, *statements, **create):
        name = "r-" + short()
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted, **create)["Role"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(*statements))
        return made["Arn"]
    return make


@pytest.fixture(scope="module")
def db():
    return connect("dynamodb", ROOT)


@pytest.fixture(scope="module")
def table(db):
    """The ARN of a table with an index and a stream, and items of ann and ben."""
    name = "iam-" + short()
    out = db.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk", "city")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[{"IndexName": "by-city", "KeySchema": [{"AttributeName": "city", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}],
        Tags=[{"Key": "team", "Value": "notes"}])
    db.get_waiter("table_exists").wait(TableName=name)
    for pk in ("ann", "ben"):
        db.put_item(TableName=name, Item={**key(pk), "city": s("Oslo"), "shown": s("p"), "secret": s("x")})
    return out["TableDescription"]["TableArn"]


def named(arn):
    return arn.rsplit("/", 1)[1]


def test_without_a_policy(person, table):
    p, name = person(), named(table)
    db = p.connect()
    assert refusal(db.get_item, TableName=name, Key=key("ann")) == denied(p.arn, "dynamodb:GetItem", table)
    assert refusal(db.list_tables) == denied(p.arn, "dynamodb:ListTables", "*")
    missing = table.replace(name, "missing")  # a refusal does not reveal which tables exist
    assert refusal(db.describe_table, TableName="missing") == denied(p.arn, "dynamodb:DescribeTable", missing)
    assert refusal(db.create_table, TableName="missing", BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                   KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}]) == denied(p.arn, "dynamodb:CreateTable", missing)
    assert refusal(p.connect("iam").list_users) == denied(p.arn, "iam:ListUsers", f"arn:aws:iam::{ACCOUNT}:user/", code="AccessDenied")
    assert refusal(p.connect("cloudwatch").list_metrics)[0] in ("AccessDenied", "AccessDeniedException")
    who = p.connect("sts").get_caller_identity()
    assert (who["Arn"], who["Account"]) == (p.arn, ACCOUNT)
    p.allow(allow("dynamodb:DescribeTable", "*"))
    assert refusal(db.describe_table, TableName="missing")[0] == "ResourceNotFoundException"


def test_leading_keys(person, table):
    name = named(table)
    actions = ["GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "ConditionCheckItem"]
    p = person(allow(["dynamodb:" + a for a in actions], [table, table + "/index/*"], ForAllValues__StringEquals={"dynamodb:LeadingKeys": ["${aws:PrincipalTag/key}", "shared"]}),
               Tags=[{"Key": "key", "Value": "ann"}])
    db = p.connect()

    def no(action, call, resource=table, **request):
        assert refusal(call, **request) == denied(p.arn, "dynamodb:" + action, resource)
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["secret"] == s("x")
    no("GetItem", db.get_item, TableName=name, Key=key("ben"))
    query = {"TableName": name, "KeyConditionExpression": "pk = :p"}
    assert db.query(**query, ExpressionAttributeValues={":p": s("ann")})["Count"] == 1
    no("Query", db.query, **query, ExpressionAttributeValues={":p": s("ben")})
    legacy = {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [s("ben")]}}
    no("Query", db.query, TableName=name, KeyConditions=legacy)
    index = {"TableName": name, "IndexName": "by-city", "KeyConditionExpression": "city = :c"}
    assert db.query(**index, ExpressionAttributeValues={":c": s("shared")})["Count"] == 0  # the key of the index counts
    no("Query", db.query, table + "/index/by-city", **index, ExpressionAttributeValues={":c": s("Oslo")})
    no("Scan", db.scan, TableName=name)
    assert db.batch_get_item(RequestItems={name: {"Keys": [key("ann"), key("shared")]}})["Responses"][name][0]["pk"] == s("ann")
    no("BatchGetItem", db.batch_get_item, RequestItems={name: {"Keys": [key("ann"), key("ben")]}})
    no("BatchWriteItem", db.batch_write_item, RequestItems={name: [{"PutRequest": {"Item": key("ann", "2")}}, {"DeleteRequest": {"Key": key("ben")}}]})
    put, check = {"Put": {"TableName": name, "Item": key("ann", "tx")}}, {"ConditionCheck": {"TableName": name, "Key": key("ben"), "ConditionExpression": "attribute_exists(pk)"}}
    no("ConditionCheckItem", db.transact_write_items, TransactItems=[put, check])
    assert "Item" not in db.get_item(TableName=name, Key=key("ann", "tx"))  # nothing of it was done
    no("GetItem", db.transact_get_items, TransactItems=[{"Get": {"TableName": name, "Key": key(k)}} for k in ("ann", "ben")])
    no("UpdateItem", db.update_item, TableName=name, Key=key("ben"), UpdateExpression="SET a = :a", ExpressionAttributeValues={":a": s("1")})
    no("DeleteItem", db.delete_item, TableName=name, Key=key("ben"))
    db.transact_write_items(TransactItems=[put])
    db.delete_item(TableName=name, Key=key("ann", "tx"))


def test_attributes(person, table):
    name = named(table)
    p = person(allow(["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"], table, ForAllValues__StringEquals={"dynamodb:Attributes": ["pk", "sk", "shown"]},
                     StringEqualsIfExists={"dynamodb:Select": "SPECIFIC_ATTRIBUTES", "dynamodb:ReturnValues": ["NONE", "UPDATED_OLD", "UPDATED_NEW"]}))
    db = p.connect()
    no = denied(p.arn, "dynamodb:GetItem", table)
    assert db.get_item(TableName=name, Key=key("ann"), ProjectionExpression="shown")["Item"] == {"shown": s("p")}
    assert db.get_item(TableName=name, Key=key("ann"), AttributesToGet=["shown"])["Item"] == {"shown": s("p")}
    assert refusal(db.get_item, TableName=name, Key=key("ann")) == no
    assert refusal(db.get_item, TableName=name, Key=key("ann"), ProjectionExpression="shown, #x", ExpressionAttributeNames={"#x": "secret"}) == no
    query = {"TableName": name, "KeyConditionExpression": "pk = :p", "ProjectionExpression": "shown"}
    assert db.query(**query, ExpressionAttributeValues={":p": s("ann")})["Items"] == [{"shown": s("p")}]
    assert refusal(db.query, **query, FilterExpression="secret = :x", ExpressionAttributeValues={":p": s("ann"), ":x": s("x")}) == denied(p.arn, "dynamodb:Query", table)
    update = {"TableName": name, "Key": key("ann"), "UpdateExpression": "SET shown = :v", "ExpressionAttributeValues": {":v": s("p")}}
    db.update_item(**update, ReturnValues="UPDATED_NEW")
    no = denied(p.arn, "dynamodb:UpdateItem", table)
    assert refusal(db.update_item, **update, ReturnValues="ALL_NEW") == no
    assert refusal(db.update_item, **{**update, "UpdateExpression": "SET shown = :v REMOVE secret"}) == no
    assert refusal(db.update_item, **update, ConditionExpression="attribute_exists(secret)") == no


@pytest.mark.parametrize("action, allowed, refused", [
    ("PartiQLSelect", "SELECT * FROM {} WHERE pk = 'ann'", "SELECT * FROM {} WHERE pk = 'ben'"),
    ("PartiQLInsert", "INSERT INTO {} VALUE {{'pk': 'ann', 'sk': 'partiql'}}", "INSERT INTO {} VALUE {{'pk': 'ben', 'sk': 'partiql'}}"),
    ("PartiQLUpdate", "UPDATE {} SET a = 1 WHERE pk = 'ann' AND sk = '1'", "UPDATE {} SET a = 1 WHERE pk = 'ben' AND sk = '1'"),
    ("PartiQLDelete", "DELETE FROM {} WHERE pk = 'ann' AND sk = 'partiql'", "DELETE FROM {} WHERE pk = 'ben' AND sk = '1'"),
])
def test_partiql(person, table, action, allowed, refused):
    name = '"' + named(table) + '"'
    p = person(allow("dynamodb:" + action, table, ForAllValues__StringEquals={"dynamodb:LeadingKeys": ["ann"]}))
    db = p.connect()
    no = denied(p.arn, "dynamodb:" + action, table)
    db.execute_statement(Statement=allowed.format(name))
    assert refusal(db.execute_statement, Statement=refused.format(name)) == no
    assert refusal(db.execute_transaction, TransactStatements=[{"Statement": refused.format(name)}]) == no
    others = "UPDATE {} SET b = 1 WHERE pk = 'ann' AND sk = '1'" if action != "PartiQLUpdate" else "DELETE FROM {} WHERE pk = 'ann' AND sk = '9'"
    assert refusal(db.execute_statement, Statement=others.format(name))[0] == "AccessDeniedException"


def test_partiql_batches_and_scans(person, table):
    name = '"' + named(table) + '"'
    p = person(allow("dynamodb:PartiQLSelect", table, ForAllValues__StringEquals={"dynamodb:LeadingKeys": ["ann"]}, Bool={"dynamodb:FullTableScan": "false"}))
    db = p.connect()
    code, message = denied(p.arn, "dynamodb:PartiQLSelect", table)
    got = db.batch_execute_statement(Statements=[{"Statement": f"SELECT shown FROM {name} WHERE pk = '{k}' AND sk = '1'"} for k in ("ann", "ben")])["Responses"]
    assert got[0]["Item"] == {"shown": s("p")}
    assert got[1]["Error"] == {"Code": "AccessDenied", "Message": message}
    assert refusal(db.execute_statement, Statement=f"SELECT * FROM {name}") == (code, message)
    index = refusal(db.execute_statement, Statement=f"SELECT * FROM {name}.\"by-city\" WHERE city = 'Oslo'")
    assert index == denied(p.arn, "dynamodb:PartiQLSelect", table + "/index/by-city")


def test_enclosing_operation(person, table):
    p = person(allow("dynamodb:PutItem", table, StringEquals={"dynamodb:EnclosingOperation": "TransactWriteItems"}))
    db, put = p.connect(), {"TableName": named(table), "Item": key("tx", "1")}
    assert refusal(db.put_item, **put) == denied(p.arn, "dynamodb:PutItem", table)
    db.transact_write_items(TransactItems=[{"Put": put}])


def test_indexes_and_streams(person, table, db):
    p, name = person(allow("dynamodb:*", table)), named(table)
    mine = p.connect()
    assert refusal(mine.scan, TableName=name, IndexName="by-city") == denied(p.arn, "dynamodb:Scan", table + "/index/by-city")
    stream = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    streams = p.connect("dynamodbstreams")
    assert refusal(streams.describe_stream, StreamArn=stream) == denied(p.arn, "dynamodb:DescribeStream", stream)
    p.allow(allow(["dynamodb:DescribeStream", "dynamodb:GetShardIterator"], table + "/stream/*"), allow("dynamodb:Scan", table + "/index/by-city"))
    assert mine.scan(TableName=name, IndexName="by-city")["Count"] >= 2
    assert refusal(mine.scan, TableName=name) == denied(p.arn, "dynamodb:Scan", table)
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    assert refusal(streams.get_records, ShardIterator=iterator) == denied(p.arn, "dynamodb:GetRecords", stream)
    db.put_resource_policy(ResourceArn=stream, Policy=policy(allow("dynamodb:GetRecords", stream, {"AWS": p.arn})))
    assert len(streams.get_records(ShardIterator=iterator)["Records"]) >= 2  # a stream's own policy allows it too
    db.delete_resource_policy(ResourceArn=stream)


def test_explicit_denies(person, table, db):
    p, name = person(allow("dynamodb:*", "*"), deny("dynamodb:DeleteItem", table)), named(table)
    mine = p.connect()
    assert refusal(mine.delete_item, TableName=name, Key=key("ann")) == denied(p.arn, "dynamodb:DeleteItem", table, "with an explicit deny in an identity-based policy")
    db.put_resource_policy(ResourceArn=table, Policy=policy(deny("dynamodb:PutItem", table, {"AWS": [p.arn, f"arn:aws:iam::{ACCOUNT}:root"]})))
    reason = "with an explicit deny in a resource-based policy"
    assert refusal(mine.put_item, TableName=name, Item=key("ann")) == denied(p.arn, "dynamodb:PutItem", table, reason)
    assert refusal(db.put_item, TableName=name, Item=key("ann")) == denied(f"arn:aws:iam::{ACCOUNT}:root", "dynamodb:PutItem", table, reason)  # not even root
    db.delete_resource_policy(ResourceArn=table)
    mine.put_item(TableName=name, Item={**key("ann"), "city": s("Oslo"), "shown": s("p"), "secret": s("x")})


def test_resource_policy_in_its_account(person, table, db):
    p, name = person(), named(table)
    db.put_resource_policy(ResourceArn=table, Policy=policy(allow("dynamodb:GetItem", table, {"AWS": p.arn})))
    assert p.connect().get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    db.delete_resource_policy(ResourceArn=table)
    assert refusal(p.connect().get_item, TableName=name, Key=key("ann")) == denied(p.arn, "dynamodb:GetItem", table)


def test_other_accounts(table, db):
    other = connect("dynamodb", OTHER_ROOT)
    root = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
    no = "because no resource-based policy allows the {} action"
    assert refusal(other.get_item, TableName=table, Key=key("ann")) == denied(root, "dynamodb:GetItem", table, no)
    missing = table.replace(named(table), "missing")
    assert refusal(other.get_item, TableName=missing, Key=key("ann")) == denied(root, "dynamodb:GetItem", missing, no)
    elsewhere = connect("iam", OTHER_ROOT)
    p = Person(elsewhere, "u-" + short())
    db.put_resource_policy(ResourceArn=table, Policy=policy(allow(["dynamodb:GetItem", "dynamodb:Query"], [table, table + "/index/*"], {"AWS": OTHER_ACCOUNT})))
    try:
        assert other.get_item(TableName=table, Key=key("ann"))["Item"]["pk"] == s("ann")
        assert refusal(other.put_item, TableName=table, Item=key("ann")) == denied(root, "dynamodb:PutItem", table, no)
        assert refusal(p.connect().get_item, TableName=table, Key=key("ann")) == denied(p.arn, "dynamodb:GetItem", table)  # its own account must allow it too
        p.allow(allow("dynamodb:*", "*"))
        assert p.connect().get_item(TableName=table, Key=key("ann"))["Item"]["pk"] == s("ann")
        assert p.connect().query(TableName=table, IndexName="by-city", KeyConditionExpression="city = :c", ExpressionAttributeValues={":c": s("Oslo")})["Count"] == 2
        assert refusal(p.connect().put_item, TableName=table, Item=key("ann")) == denied(p.arn, "dynamodb:PutItem", table, no)
    finally:
        db.delete_resource_policy(ResourceArn=table)
    assert refusal(other.get_item, TableName=table, Key=key("ann")) == denied(root, "dynamodb:GetItem", table, no)


def test_permissions_boundary(iam, person, table):
    bound = iam.create_policy(PolicyName="b-" + short(), PolicyDocument=policy(allow("dynamodb:Get*", "*"), deny("dynamodb:Query", "*")))["Policy"]["Arn"]
    p, name = person(allow("dynamodb:*", "*"), PermissionsBoundary=bound), named(table)
    db = p.connect()
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.scan, TableName=name) == denied(p.arn, "dynamodb:Scan", table, "because no permissions boundary allows the {} action")
    query = {"TableName": name, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": s("ann")}}
    assert refusal(db.query, **query) == denied(p.arn, "dynamodb:Query", table, "with an explicit deny in a permissions boundary")
    assert iam.get_user(UserName=p.name)["User"]["PermissionsBoundary"] == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": bound}
    assert refusal(iam.delete_policy, PolicyArn=bound) == ("DeleteConflict", "Cannot delete a policy attached to entities.")
    iam.delete_user_permissions_boundary(UserName=p.name)
    assert db.query(**query)["Count"] == 1
    iam.delete_policy(PolicyArn=bound)


def test_groups_and_managed_policies(iam, person, table):
    p, name, group = person(), named(table), "g-" + short()
    db = p.connect()
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="get", PolicyDocument=policy(allow("dynamodb:GetItem", "*")))
    iam.attach_group_policy(GroupName=group, PolicyArn="arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess")
    iam.add_user_to_group(GroupName=group, UserName=p.name)
    assert db.scan(TableName=name)["Count"] >= 2 and name in db.list_tables()["TableNames"]
    assert refusal(db.put_item, TableName=name, Item=key("ann")) == denied(p.arn, "dynamodb:PutItem", table)
    iam.remove_user_from_group(GroupName=group, UserName=p.name)
    assert refusal(db.scan, TableName=name) == denied(p.arn, "dynamodb:Scan", table)
    made = iam.create_policy(PolicyName="p-" + short(), PolicyDocument=policy(allow("dynamodb:Scan", "*")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=p.name, PolicyArn=made)
    assert db.scan(TableName=name)["Count"] >= 2
    iam.create_policy_version(PolicyArn=made, PolicyDocument=policy(allow("dynamodb:Query", "*")), SetAsDefault=True)
    assert refusal(db.scan, TableName=name) == denied(p.arn, "dynamodb:Scan", table)
    iam.set_default_policy_version(PolicyArn=made, VersionId="v1")
    assert db.scan(TableName=name)["Count"] >= 2


def test_roles(person, role, table):
    name = named(table)
    p = person()
    arn = role(trust({"AWS": p.arn}, StringEquals={"sts:ExternalId": "42"}), allow(["dynamodb:GetItem", "dynamodb:Scan"], table), MaxSessionDuration=7200)
    sts = p.connect("sts")
    request = {"RoleArn": arn, "RoleSessionName": "work", "ExternalId": "42"}
    out = sts.assume_role(**request)  # within an account, the trust policy suffices if it names the user
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(arn)}/work"
    assert out["AssumedRoleUser"]["Arn"] == session and out["Credentials"]["AccessKeyId"].startswith("ASIA")
    keys = session_keys(out)
    db = connect("dynamodb", keys)
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.put_item, TableName=name, Item=key("ann")) == denied(session, "dynamodb:PutItem", table)
    who = connect("sts", keys).get_caller_identity()
    assert who["Arn"] == session and who["UserId"].startswith("AROA") and who["UserId"].endswith(":work")
    for wrong in ({**request, "ExternalId": "43"}, {k: v for k, v in request.items() if k != "ExternalId"}, {**request, "RoleArn": arn + "x"}):
        assert refusal(sts.assume_role, **wrong) == denied(p.arn, "sts:AssumeRole", wrong["RoleArn"], "", "AccessDenied")
    limited = session_keys(sts.assume_role(**request, Policy=policy(allow("dynamodb:GetItem", "*"), deny("dynamodb:Query", "*"))))
    db = connect("dynamodb", limited)
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.scan, TableName=name) == denied(session, "dynamodb:Scan", table, "because no session policy allows the {} action")
    query = {"TableName": name, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": s("ann")}}
    assert refusal(db.query, **query) == denied(session, "dynamodb:Query", table, "with an explicit deny in a session policy")
    assert refusal(sts.assume_role, **request, DurationSeconds=7201) == ("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    unrecognized = "UnrecognizedClientException", "The security token included in the request is invalid."
    assert refusal(connect("dynamodb", keys[:2]).list_tables) == unrecognized
    assert refusal(connect("dynamodb", (*keys[:2], keys[2][:-8] + "AAAAAAA=")).list_tables) == unrecognized
    assert refusal(connect("dynamodb", (keys[0], "wrong", keys[2])).list_tables)[0] == "InvalidSignatureException"


def test_roles_of_other_accounts(role, table):
    arn = role(trust({"AWS": OTHER_ACCOUNT}), allow("dynamodb:GetItem", table))
    p = Person(connect("iam", OTHER_ROOT), "u-" + short())
    request = {"RoleArn": arn, "RoleSessionName": "guest"}
    assert refusal(p.connect("sts").assume_role, **request) == denied(p.arn, "sts:AssumeRole", arn, "", "AccessDenied")
    p.allow(allow("sts:AssumeRole", arn))
    keys = session_keys(p.connect("sts").assume_role(**request))
    assert connect("dynamodb", keys).get_item(TableName=named(table), Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(connect("sts", OTHER_ROOT).assume_role, **request) == ("AccessDenied", "Roles may not be assumed by root accounts.")


def test_role_sessions_and_tags(person, role, table):
    p = person(Tags=[{"Key": "team", "Value": "notes"}])
    arn = role(policy(allow(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"], None, {"AWS": p.arn})),
               allow("dynamodb:Scan", table, StringEquals={"aws:SourceIdentity": "ann"}),
               allow("dynamodb:GetItem", table, StringEquals={"dynamodb:LeadingKeys": "ben"}),  # without ForAnyValue, a key with several values matches nothing
               allow("dynamodb:GetItem", table, ForAnyValue__StringEquals={"dynamodb:LeadingKeys": "${aws:PrincipalTag/customer}"}))
    sts = p.connect("sts")
    keys = session_keys(sts.assume_role(RoleArn=arn, RoleSessionName="work", Tags=[{"Key": "customer", "Value": "ann"}]))
    db, session = connect("dynamodb", keys), f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(arn)}/work"
    assert db.get_item(TableName=named(table), Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.get_item, TableName=named(table), Key=key("ben")) == denied(session, "dynamodb:GetItem", table)
    assert refusal(db.scan, TableName=named(table)) == denied(session, "dynamodb:Scan", table)
    for name, allowed in (("ann", True), ("ben", False)):
        out = sts.assume_role(RoleArn=arn, RoleSessionName="work", SourceIdentity=name)
        assert out["SourceIdentity"] == name
        db = connect("dynamodb", session_keys(out))
        if allowed:
            assert db.scan(TableName=named(table))["Count"] >= 2
        else:
            assert refusal(db.scan, TableName=named(table)) == denied(session, "dynamodb:Scan", table)


def test_session_tokens(person, table):
    p, name = person(allow(["dynamodb:GetItem", "sts:GetFederationToken"], "*")), named(table)
    keys = session_keys(p.connect("sts").get_session_token(DurationSeconds=900))
    db = connect("dynamodb", keys)
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.scan, TableName=name) == denied(p.arn, "dynamodb:Scan", table)
    assert connect("sts", keys).get_caller_identity()["Arn"] == p.arn
    assert refusal(connect("sts", keys).get_session_token) == ("AccessDenied", "Cannot call GetSessionToken with session credentials")
    assert refusal(connect("iam", keys).get_user)[0] == "InvalidClientTokenId"
    p.allow(allow("dynamodb:Scan", "*"))
    assert db.scan(TableName=name)["Count"] >= 2  # a session has the permissions that its user has now


def test_federation_tokens(person, table):
    p, name = person(allow(["dynamodb:GetItem", "sts:GetFederationToken"], "*")), named(table)
    sts = p.connect("sts")
    out = sts.get_federation_token(Name="guest", Policy=policy(allow("dynamodb:*", "*")))
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/guest"
    assert out["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:guest", "Arn": arn}
    db = connect("dynamodb", session_keys(out))
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.scan, TableName=name) == denied(arn, "dynamodb:Scan", table)
    bare = connect("dynamodb", session_keys(sts.get_federation_token(Name="guest")))
    assert refusal(bare.get_item, TableName=name, Key=key("ann"))[0] == "AccessDeniedException"  # without a session policy it may do nothing
    p.allow(allow("dynamodb:GetItem", "*"))
    assert refusal(sts.get_federation_token, Name="guest") == denied(p.arn, "sts:GetFederationToken", arn, code="AccessDenied")


def test_sessions_expire(monkeypatch):
    """The server whose clock tests move has no credentials: a key that it has issued is verified nevertheless."""
    iam, name = connect("iam", ("any", "any"), CLOCK), "r-" + short()
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": "000000000000"}))
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(allow("dynamodb:ListTables", "*")))
    request = {"RoleArn": f"arn:aws:iam::000000000000:role/{name}", "RoleSessionName": "brief", "DurationSeconds": 900}
    out = connect("sts", ("any", "any"), CLOCK).assume_role(**request)
    expires = out["Credentials"]["Expiration"]
    db = connect("dynamodb", session_keys(out), CLOCK)
    # botocore signs for the time of its computer; here, for the time of the server.
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: (expires - timedelta(minutes=15)).astimezone(timezone.utc).replace(tzinfo=None))
    db.list_tables()
    with urllib.request.urlopen(CLOCK + "/_stator/clock", json.dumps({"advance": "14m"}).encode()):
        db.list_tables()
    with urllib.request.urlopen(CLOCK + "/_stator/clock", json.dumps({"advance": "1m"}).encode()):
        assert refusal(db.list_tables) == ("ExpiredTokenException", "The security token included in the request is expired")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: expires.astimezone(timezone.utc).replace(tzinfo=None))
    assert refusal(connect("sts", session_keys(out), CLOCK).get_caller_identity) == ("ExpiredToken", "The security token included in the request is expired")


def test_revoked_keys(iam, person, table):
    p, name = person(allow("dynamodb:*", "*")), named(table)
    db = p.connect()
    db.get_item(TableName=name, Key=key("ann"))
    session = connect("dynamodb", session_keys(p.connect("sts").get_session_token()))
    session.get_item(TableName=name, Key=key("ann"))
    unrecognized = "UnrecognizedClientException", "The security token included in the request is invalid."
    iam.update_access_key(UserName=p.name, AccessKeyId=p.keys[0], Status="Inactive")
    assert refusal(db.get_item, TableName=name, Key=key("ann")) == unrecognized
    assert refusal(p.connect("sts").get_caller_identity) == ("InvalidClientTokenId", unrecognized[1])
    iam.update_access_key(UserName=p.name, AccessKeyId=p.keys[0], Status="Active")
    db.get_item(TableName=name, Key=key("ann"))
    assert iam.get_access_key_last_used(AccessKeyId=p.keys[0])["UserName"] == p.name
    iam.delete_access_key(UserName=p.name, AccessKeyId=p.keys[0])
    assert refusal(db.get_item, TableName=name, Key=key("ann")) == unrecognized
    iam.delete_user_policy(UserName=p.name, PolicyName="own")
    iam.delete_user(UserName=p.name)
    assert refusal(session.get_item, TableName=name, Key=key("ann")) == unrecognized


def test_tags(person, table, db):
    name, made = named(table), "iam-tags-" + short()
    p = person(allow("dynamodb:GetItem", "*", StringEquals={"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}),
               allow(["dynamodb:CreateTable", "dynamodb:TagResource"], "*", StringEquals={"aws:RequestTag/team": "${aws:PrincipalTag/team}"}, ForAllValues__StringEquals={"aws:TagKeys": ["team"]}),
               Tags=[{"Key": "team", "Value": "notes"}])
    mine = p.connect()
    assert mine.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    create = {"TableName": made, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}
    no = denied(p.arn, "dynamodb:CreateTable", table.replace(name, made))
    assert refusal(mine.create_table, **create) == no
    assert refusal(mine.create_table, **create, Tags=[{"Key": "team", "Value": "others"}]) == no
    arn = mine.create_table(**create, Tags=[{"Key": "team", "Value": "notes"}])["TableDescription"]["TableArn"]
    db.get_waiter("table_exists").wait(TableName=made)
    mine.get_item(TableName=made, Key={"pk": s("x")})
    assert refusal(mine.tag_resource, ResourceArn=arn, Tags=[{"Key": "other", "Value": "x"}]) == denied(p.arn, "dynamodb:TagResource", arn)
    db.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "others"}])
    assert refusal(mine.get_item, TableName=made, Key={"pk": s("x")}) == denied(p.arn, "dynamodb:GetItem", arn)
    db.delete_table(TableName=made)


def test_where_requests_come_from(person, table):
    name = named(table)
    p = person(allow("dynamodb:GetItem", "*", IpAddress={"aws:SourceIp": "127.0.0.0/8"}), allow("dynamodb:Scan", "*", IpAddress={"aws:SourceIp": "203.0.113.0/24"}),
               allow("dynamodb:ListTables", "*"), deny("dynamodb:ListTables", "*", Bool={"aws:SecureTransport": "false"}))
    db = p.connect()
    assert db.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
    assert refusal(db.scan, TableName=name) == denied(p.arn, "dynamodb:Scan", table)
    assert refusal(db.list_tables) == denied(p.arn, "dynamodb:ListTables", "*", "with an explicit deny in an identity-based policy")


def test_tls():
    p = Person(connect("iam", ROOT, TLS), "u-" + short(), allow("dynamodb:ListTables", "*", Bool={"aws:SecureTransport": "true"}))
    assert p.connect(endpoint=TLS).list_tables()["TableNames"] == []


def test_dax(iam, person, role, table):
    """DAX asks for dax: actions of the caller, and for DynamoDB's of the cluster's role."""
    reads = role(trust({"Service": "dax.amazonaws.com"}), allow(["dynamodb:DescribeTable", "dynamodb:GetItem"], table))
    control, cluster = connect("dax", ROOT), "iam-" + short()
    made = control.create_cluster(ClusterName=cluster, NodeType="dax.t3.small", ReplicationFactor=1, IamRoleArn=reads)["Cluster"]
    url = control.describe_clusters(ClusterNames=[cluster])["Clusters"][0]["ClusterDiscoveryEndpoint"]["URL"]
    arn, name = made["ClusterArn"], named(table)
    p, stranger = person(allow(["dax:GetItem", "dax:PutItem"], arn)), person(allow("dynamodb:*", "*"))

    def dax(of, keys=None):
        return AmazonDaxClient(endpoint_url=url, region_name="us-east-1", **dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), keys or of.keys)))
    try:
        with dax(p) as client:
            for _ in range(2):  # from the table, from the cache
                assert client.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
            session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(reads)}/"
            code, message = refusal(client.put_item, TableName=name, Item=key("ann"))
            assert code == "AccessDeniedException" and session in message and "dynamodb:PutItem" in message
            code, message = refusal(client.delete_item, TableName=name, Key=key("ann"))
            assert (code, message) == denied(p.arn, "dax:DeleteItem", arn)
            p.allow(allow("dax:PutItem", arn))
            code, message = refusal(client.get_item, TableName=name, Key=key("ann"))  # although the item is in the cache
            assert (code, message) == denied(p.arn, "dax:GetItem", arn)
        with dax(p, session_keys(p.connect("sts").get_session_token())) as client:
            p.allow(allow("dax:GetItem", arn))
            assert client.get_item(TableName=name, Key=key("ann"))["Item"]["pk"] == s("ann")
        with pytest.raises(DaxClientError):  # a caller without any permission does not learn the endpoints
            dax(stranger).get_item(TableName=name, Key=key("ann"))
    finally:
        control.delete_cluster(ClusterName=cluster)


def test_simulator(iam, person, table):
    p = person(allow("dynamodb:GetItem", table, ForAllValues__StringEquals={"dynamodb:LeadingKeys": ["${aws:username}"]}), deny("dynamodb:DeleteTable", "*"))
    request = {"PolicySourceArn": p.arn, "ResourceArns": [table], "ActionNames": ["dynamodb:GetItem", "dynamodb:Scan", "dynamodb:DeleteTable"]}

    def keys(value):
        return [{"ContextKeyName": "dynamodb:LeadingKeys", "ContextKeyType": "stringList", "ContextKeyValues": [value]}]
    got = iam.simulate_principal_policy(**request, ContextEntries=keys(p.name))["EvaluationResults"]
    assert [(r["EvalActionName"], r["EvalDecision"]) for r in got] == [("dynamodb:GetItem", "allowed"), ("dynamodb:Scan", "implicitDeny"), ("dynamodb:DeleteTable", "explicitDeny")]
    assert got[0]["MatchedStatements"][0]["SourcePolicyId"] == f"user_{p.name}_own" and got[0]["EvalResourceName"] == table
    got = iam.simulate_principal_policy(**request, ContextEntries=keys("ben"))["EvaluationResults"]
    assert got[0]["EvalDecision"] == "implicitDeny"
    pages = iam.get_paginator("simulate_custom_policy").paginate(PolicyInputList=[policy(allow("dynamodb:Get*", "*"))], ActionNames=request["ActionNames"], PaginationConfig={"PageSize": 2})
    assert [r["EvalDecision"] for page in pages for r in page["EvaluationResults"]] == ["allowed", "implicitDeny", "implicitDeny"]


def test_lists_and_waiters(iam, person, role):
    path = f"/{short()}/"
    names = sorted("u-" + short() for _ in range(5))
    for n in names:
        iam.create_user(UserName=n, Path=path)
        iam.get_waiter("user_exists").wait(UserName=n)
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix=path, PaginationConfig={"PageSize": 2}))
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]
    assert [u["UserName"] for page in pages for u in page["Users"]] == names
    arn = role(trust({"AWS": ACCOUNT}), Path=path)
    iam.get_waiter("role_exists").wait(RoleName=named(arn))
    assert [r["Arn"] for page in iam.get_paginator("list_roles").paginate(PathPrefix=path) for r in page["Roles"]] == [arn]
    made = iam.create_policy(PolicyName="p-" + short(), Path=path, PolicyDocument=policy(allow("dynamodb:*", "*")))["Policy"]
    iam.get_waiter("policy_exists").wait(PolicyArn=made["Arn"])
    assert [p["Arn"] for page in iam.get_paginator("list_policies").paginate(Scope="Local", PathPrefix=path) for p in page["Policies"]] == [made["Arn"]]
    iam.attach_user_policy(UserName=names[0], PolicyArn=made["Arn"])
    iam.put_user_policy(UserName=names[0], PolicyName="inline", PolicyDocument=policy(allow("dynamodb:Scan", "*")))
    users, policies = [], []
    for page in iam.get_paginator("get_account_authorization_details").paginate(Filter=["User", "LocalManagedPolicy"], PaginationConfig={"PageSize": 3}):
        users += [u for u in page["UserDetailList"] if u["Path"] == path]
        policies += [p for p in page["Policies"] if p["Path"] == path]
        assert page["RoleDetailList"] == []
    assert [u["UserName"] for u in users] == names and users[0]["AttachedManagedPolicies"] == [{"PolicyName": made["PolicyName"], "PolicyArn": made["Arn"]}]
    assert users[0]["UserPolicyList"] == [{"PolicyName": "inline", "PolicyDocument": json.loads(policy(allow("dynamodb:Scan", "*")))}]
    assert policies[0]["PolicyVersionList"][0]["Document"] == json.loads(policy(allow("dynamodb:*", "*"))) and policies[0]["AttachmentCount"] == 1
    assert iam.get_account_summary()["SummaryMap"]["Users"] >= 5


def test_errors(iam, person):
    p = person()
    name = p.name
    assert refusal(iam.create_user, UserName=name) == ("EntityAlreadyExists", f"User with name {name} already exists.")
    assert refusal(iam.get_user, UserName="missing") == ("NoSuchEntity", "The user with name missing cannot be found.")
    assert refusal(iam.get_role, RoleName="missing") == ("NoSuchEntity", "The role with name missing cannot be found.")
    assert refusal(iam.get_group, GroupName="missing") == ("NoSuchEntity", "The group with name missing cannot be found.")
    assert refusal(iam.get_user_policy, UserName=name, PolicyName="missing") == ("NoSuchEntity", "The user policy with name missing cannot be found.")
    missing = f"arn:aws:iam::{ACCOUNT}:policy/missing"
    assert refusal(iam.get_policy, PolicyArn=missing) == ("NoSuchEntity", f"Policy {missing} was not found.")
    assert refusal(iam.attach_user_policy, UserName=name, PolicyArn=missing) == ("NoSuchEntity", f"Policy {missing} does not exist or is not attachable.")
    assert refusal(iam.delete_user, UserName=name) == ("DeleteConflict", "Cannot delete entity, must delete access keys first.")
    iam.create_access_key(UserName=name)
    assert refusal(iam.create_access_key, UserName=name) == ("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
    for text, message in [
        ("{", "Syntax errors in policy."),
        ('{"Statement":[{"Effect":"Allow","Action":"dynamodb:GetItem"}]}', "Policy statement must contain resources."),
        (policy(allow("GetItem", "*")), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (policy(allow("dynamodb:GetItem", "table/t")), 'Resource table/t must be in ARN format or "*".'),
        (policy(allow("dynamodb:GetItem", "*", "*")), "Policy document should not specify a principal."),
    ]:
        assert refusal(iam.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=text) == ("MalformedPolicyDocument", message)
    long = policy(allow("dynamodb:GetItem", ["arn:aws:dynamodb:us-east-1:%s:table/%s" % (ACCOUNT, i) for i in range(10**3, 10**3 + 50)]))
    assert refusal(iam.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=long) == ("LimitExceeded", f"Maximum policy size of 2048 bytes exceeded for user {name}")
    status, _ = refusal(connect("iam", ("AKIDUNKNOWN", "x")).list_users)
    assert status == "InvalidClientTokenId"
    assert refusal(connect("sts", (ROOT[0], "wrong")).get_caller_identity)[0] == "SignatureDoesNotMatch"


def test_terraform(iam, db, table):
    """What Terraform's provider calls to create, read, update and delete its resources, in its order."""
    n = short()
    user, group, role_name, profile = f"tf-{n}", f"tf-{n}", f"tf-{n}", f"tf-{n}"
    document = policy(allow("dynamodb:GetItem", "*"))
    assert connect("sts", ROOT).get_caller_identity()["Account"] == ACCOUNT

    # aws_iam_user, aws_iam_access_key, aws_iam_user_policy
    made = iam.create_user(UserName=user, Path="/", Tags=[{"Key": "k", "Value": "v"}])["User"]
    got = iam.get_user(UserName=user)["User"]
    assert (got["Arn"], got["UserId"], got["Tags"]) == (made["Arn"], made["UserId"], [{"Key": "k", "Value": "v"}])
    access = iam.create_access_key(UserName=user)["AccessKey"]
    assert [(k["AccessKeyId"], k["Status"]) for k in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]] == [(access["AccessKeyId"], "Active")]
    iam.update_access_key(UserName=user, AccessKeyId=access["AccessKeyId"], Status="Inactive")
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    assert iam.get_user_policy(UserName=user, PolicyName="p")["PolicyDocument"] == json.loads(document)

    # aws_iam_policy
    made = iam.create_policy(PolicyName=user, Path="/", Description="d", PolicyDocument=document, Tags=[{"Key": "k", "Value": "v"}])["Policy"]
    arn = made["Arn"]
    got = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (got["DefaultVersionId"], got["Description"], got["Tags"], got["AttachmentCount"]) == ("v1", "d", [{"Key": "k", "Value": "v"}], 0)
    for i in range(2, 8):
        versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
        if len(versions) == 5:
            oldest = min((v for v in versions if not v["IsDefaultVersion"]), key=lambda v: int(v["VersionId"][1:]))
            iam.delete_policy_version(PolicyArn=arn, VersionId=oldest["VersionId"])
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("dynamodb:GetItem", f"arn:aws:dynamodb:*:*:table/t{i}")), SetAsDefault=True)
    got = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    assert got == "v7" and iam.get_policy_version(PolicyArn=arn, VersionId=got)["PolicyVersion"]["Document"]["Statement"][0]["Resource"].endswith("t7")
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "k", "Value": "w"}])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "k", "Value": "w"}]

    # aws_iam_user_policy_attachment, aws_iam_group, aws_iam_group_membership
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    assert iam.list_attached_user_policies(UserName=user)["AttachedPolicies"] == [{"PolicyName": user, "PolicyArn": arn}]
    iam.create_group(GroupName=group, Path="/")
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert [u["UserName"] for page in iam.get_paginator("get_group").paginate(GroupName=group) for u in page["Users"]] == [user]
    iam.update_group(GroupName=group, NewGroupName=group + "-new", NewPath="/")
    group += "-new"
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=user)["Groups"]] == [group]

    # aws_iam_role, aws_iam_role_policy_attachment, aws_iam_instance_profile
    service = trust({"Service": "ec2.amazonaws.com"})
    iam.create_role(RoleName=role_name, Path="/", AssumeRolePolicyDocument=service, MaxSessionDuration=3600, Tags=[{"Key": "k", "Value": "v"}])
    iam.put_role_policy(RoleName=role_name, PolicyName="inline", PolicyDocument=document)
    got = iam.get_role(RoleName=role_name)["Role"]
    assert got["AssumeRolePolicyDocument"] == json.loads(service) and got["Tags"] == [{"Key": "k", "Value": "v"}]
    assert [iam.get_role_policy(RoleName=role_name, PolicyName=i)["PolicyDocument"] for i in iam.list_role_policies(RoleName=role_name)["PolicyNames"]] == [json.loads(document)]
    iam.attach_role_policy(RoleName=role_name, PolicyArn=arn)
    assert iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"] == [{"PolicyName": user, "PolicyArn": arn}]
    iam.update_assume_role_policy(RoleName=role_name, PolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    iam.update_role_description(RoleName=role_name, Description="new")
    iam.update_role(RoleName=role_name, Description="new", MaxSessionDuration=7200)
    iam.put_role_permissions_boundary(RoleName=role_name, PermissionsBoundary=arn)
    iam.tag_role(RoleName=role_name, Tags=[{"Key": "l", "Value": "w"}])
    iam.untag_role(RoleName=role_name, TagKeys=["k"])
    got = iam.get_role(RoleName=role_name)["Role"]
    assert (got["Description"], got["MaxSessionDuration"], got["Tags"], got["PermissionsBoundary"]["PermissionsBoundaryArn"]) == ("new", 7200, [{"Key": "l", "Value": "w"}], arn)
    iam.create_instance_profile(InstanceProfileName=profile, Path="/")
    iam.get_waiter("instance_profile_exists").wait(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role_name)
    assert iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"][0]["RoleName"] == role_name
    assert refusal(iam.delete_role, RoleName=role_name)[0] == "DeleteConflict"

    # aws_dynamodb_resource_policy
    text = policy(allow("dynamodb:GetItem", table, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    revision = db.put_resource_policy(ResourceArn=table, Policy=text)["RevisionId"]
    got = db.get_resource_policy(ResourceArn=table)
    assert got["RevisionId"] == revision and json.loads(got["Policy"])["Statement"][0]["Action"] == "dynamodb:GetItem"
    db.put_resource_policy(ResourceArn=table, Policy=text.replace("GetItem", "Query"))
    db.delete_resource_policy(ResourceArn=table)
    assert refusal(db.get_resource_policy, ResourceArn=table) == ("PolicyNotFoundException", f"Resource-based policy not found for the provided ResourceArn: {table}")

    # delete
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role_name)
    iam.delete_instance_profile(InstanceProfileName=profile)
    assert iam.list_instance_profiles_for_role(RoleName=role_name)["InstanceProfiles"] == []
    iam.detach_role_policy(RoleName=role_name, PolicyArn=arn)
    for i in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role_name, PolicyName=i)
    iam.delete_role(RoleName=role_name)
    assert refusal(iam.get_role, RoleName=role_name)[0] == "NoSuchEntity"
    iam.detach_user_policy(UserName=user, PolicyArn=arn)
    assert refusal(iam.detach_user_policy, UserName=user, PolicyArn=arn) == ("NoSuchEntity", f"Policy {arn} was not found.")
    for g in iam.list_groups_for_user(UserName=user)["Groups"]:
        iam.remove_user_from_group(GroupName=g["GroupName"], UserName=user)
    iam.delete_group(GroupName=group)
    iam.delete_access_key(UserName=user, AccessKeyId=access["AccessKeyId"])
    iam.delete_user_policy(UserName=user, PolicyName="p")
    iam.delete_user(UserName=user)
    for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not v["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=v["VersionId"])
    iam.delete_policy(PolicyArn=arn)
    assert refusal(iam.get_policy, PolicyArn=arn)[0] == "NoSuchEntity"


def test_changes_at_the_same_time(iam):
    """Terraform applies ten resources at a time."""
    n = short()

    def apply(i):
        name = f"many-{n}-{i}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("dynamodb:GetItem", "*")))
        iam.add_user_to_group(GroupName=group, UserName=name)
        return name
    group = f"many-{n}"
    iam.create_group(GroupName=group)
    with ThreadPoolExecutor(10) as pool:
        names = list(pool.map(apply, range(20)))
    assert sorted(u["UserName"] for u in iam.get_group(GroupName=group)["Users"]) == sorted(names)
