"""Fixtures: clients of the server whose endpoint is in STATOR_ENDPOINT."""
import os
import uuid

import boto3
import pytest
from botocore.config import Config

ENDPOINT = os.environ["STATOR_ENDPOINT"]
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture(scope="session")
def client():
    return boto3.client("dynamodb", endpoint_url=ENDPOINT, config=Config(retries={"mode": "adaptive", "max_attempts": 5}), **KEYS)


@pytest.fixture(scope="session")
def resource():
    return boto3.resource("dynamodb", endpoint_url=ENDPOINT, **KEYS)


@pytest.fixture
def name():
    return "t-" + uuid.uuid4().hex[:12]


@pytest.fixture
def table(resource, name):
    """A table with a partition key, a sort key, an LSI and a GSI."""
    t = resource.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "score", "AttributeType": "N"},
            {"AttributeName": "city", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=[{
            "IndexName": "by-score",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "score", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }],
        GlobalSecondaryIndexes=[{
            "IndexName": "by-city",
            "KeySchema": [{"AttributeName": "city", "KeyType": "HASH"}, {"AttributeName": "score", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        }],
    )
    t.wait_until_exists()
    yield t
    t.delete()
    t.wait_until_not_exists()
