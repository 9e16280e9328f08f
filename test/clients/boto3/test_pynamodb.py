"""PynamoDB against the server whose endpoint is in STATOR_ENDPOINT."""
from datetime import datetime, timedelta, timezone

import pytest
from pynamodb.attributes import (
    BinaryAttribute, BooleanAttribute, JSONAttribute, ListAttribute, MapAttribute, NumberAttribute, NumberSetAttribute, TTLAttribute,
    UnicodeAttribute, UnicodeSetAttribute, UTCDateTimeAttribute, VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import PutError, TransactWriteError, UpdateError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection, LocalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

from conftest import ENDPOINT, KEYS


class Place(MapAttribute):
    city = UnicodeAttribute()
    zip = NumberAttribute(null=True)


class ByKind(GlobalSecondaryIndex):
    class Meta:
        index_name = "by-kind"
        projection = AllProjection()

    kind = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class ByRank(LocalSecondaryIndex):
    class Meta:
        index_name = "by-rank"
        projection = KeysOnlyProjection()

    owner = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class Thing(Model):
    class Meta:
        host = ENDPOINT
        region = KEYS["region_name"]
        aws_access_key_id = KEYS["aws_access_key_id"]
        aws_secret_access_key = KEYS["aws_secret_access_key"]
        billing_mode = "PAY_PER_REQUEST"

    owner = UnicodeAttribute(hash_key=True)
    id = NumberAttribute(range_key=True)
    kind = UnicodeAttribute(default="thing")
    rank = NumberAttribute(default=0)
    by_kind = ByKind()
    by_rank = ByRank()
    made = UTCDateTimeAttribute(null=True)
    tags = UnicodeSetAttribute(null=True)
    sizes = NumberSetAttribute(null=True)
    place = Place(null=True)
    log = ListAttribute(null=True)
    raw = BinaryAttribute(null=True, legacy_encoding=False)
    done = BooleanAttribute(null=True)
    extra = JSONAttribute(null=True)
    expires = TTLAttribute(null=True)


class Counter(Thing):
    version = VersionAttribute()


@pytest.fixture
def model(name):
    for cls in (Thing, Counter):
        cls.Meta.table_name = name
        cls._connection = None
    Thing.create_table(wait=True)
    yield Thing
    Thing.delete_table()


def test_model(model):
    made = datetime(2026, 2, 28, 12, 30, 1, 5000, tzinfo=timezone.utc)
    thing = model("a", 1, made=made, tags={"x", "y"}, sizes={1, 2.5}, place=Place(city="Oslo", zip=150), log=["one", 2, {"three": 3}], raw=b"\x00\xff",
                  done=False, extra={"k": [1, None]}, expires=timedelta(days=1), rank=5)
    thing.save(condition=Thing.owner.does_not_exist())
    with pytest.raises(PutError) as refused:
        thing.save(condition=Thing.owner.does_not_exist())
    assert refused.value.cause_response_code == "ConditionalCheckFailedException"
    got = model.get("a", 1, consistent_read=True)
    assert (got.made, got.tags, got.sizes, got.place.city, got.log, got.raw, got.done, got.extra) == (
        made, {"x", "y"}, {1, 2.5}, "Oslo", ["one", 2, {"three": 3}], b"\x00\xff", False, {"k": [1, None]})
    got.update(
        actions=[Thing.rank.add(1), Thing.place.city.set("Bergen"), Thing.place.zip.remove(), Thing.tags.delete({"x"}), Thing.sizes.add({7}),
                 Thing.log.set(Thing.log.append(["four"])), Thing.done.set(True), Thing.kind.set(Thing.kind | "other")],
        condition=(Thing.rank == 5) & Thing.tags.contains("x") & (Thing.place.city.startswith("Os")) & ~(Thing.kind.is_in("a", "b")))
    assert (got.rank, got.place.city, got.place.zip, got.tags, got.sizes, got.log[-1], got.done, got.kind) == (
        6, "Bergen", None, {"y"}, {1, 2.5, 7}, "four", True, "thing")
    with pytest.raises(UpdateError):
        got.update(actions=[Thing.rank.set(0)], condition=Thing.rank > 6)
    got.delete(condition=Thing.rank == 6)
    with pytest.raises(Thing.DoesNotExist):
        model.get("a", 1)
    assert model.describe_table()["TableStatus"] == "ACTIVE"


def test_queries_and_batches(model):
    with model.batch_write() as batch:
        for i in range(40):
            batch.save(model("b", i, kind="odd" if i % 2 else "even", rank=100 - i))
    assert sorted(t.id for t in model.batch_get([("b", 1), ("b", 39), ("b", 99)])) == [1, 39]
    page = model.query("b", Thing.id.between(5, 30), filter_condition=Thing.kind == "odd", limit=5, page_size=4)
    assert [t.id for t in page] == [5, 7, 9, 11, 13]
    rest = model.query("b", Thing.id.between(5, 30), filter_condition=Thing.kind == "odd", last_evaluated_key=page.last_evaluated_key)
    assert [t.id for t in rest] == [15, 17, 19, 21, 23, 25, 27, 29]
    assert [t.id for t in model.by_kind.query("odd", ByKind.rank < 66, scan_index_forward=False)] == [35, 37, 39]
    assert [t.id for t in model.by_rank.query("b", ByRank.rank > 98)] == [1, 0]
    assert model.count("b", filter_condition=Thing.rank >= 90) == 11
    assert sum(len(list(model.scan(segment=s, total_segments=3, attributes_to_get=["id"]))) for s in range(3)) == 40
    with model.batch_write() as batch:
        for i in range(40):
            batch.delete(model("b", i))
    assert list(model.scan()) == []


def test_transactions_and_versions(model):
    connection = Connection(host=ENDPOINT, region=KEYS["region_name"])
    connection.session.set_credentials(KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"])
    model("t", 1, rank=1).save()
    with TransactWrite(connection=connection, client_request_token="token-" + model.Meta.table_name) as t:
        t.update(model("t", 1), actions=[Thing.rank.add(1)], condition=Thing.rank == 1)
        t.save(model("t", 2), condition=Thing.owner.does_not_exist())
        t.condition_check(model, "t", 3, condition=Thing.owner.does_not_exist())
    with pytest.raises(TransactWriteError) as canceled:
        with TransactWrite(connection=connection) as t:
            t.update(model("t", 1), actions=[Thing.rank.add(1)])
            t.save(model("t", 2), condition=Thing.owner.does_not_exist())
    assert [r and r.code for r in canceled.value.cancellation_reasons] == ["ConditionalCheckFailed", None]  # PynamoDB puts before it updates
    with TransactGet(connection=connection) as t:
        one, none = t.get(model, "t", 1), t.get(model, "t", 9)
    assert one.get().rank == 2
    with pytest.raises(Thing.DoesNotExist):
        none.get()
    counter = Counter("v", 1)
    counter.save()
    stale = Counter.get("v", 1)
    counter.update(actions=[Counter.rank.add(1)])
    assert (counter.version, counter.rank) == (2, 1)
    with pytest.raises(PutError):
        stale.save()
