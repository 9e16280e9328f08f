"""boto3: capacity. Throttling, CloudWatch, Contributor Insights and Application Auto Scaling."""
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

CREDENTIALS = dict(region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
CLOCK = os.environ["STATOR_CLOCK_ENDPOINT"]  # a server whose clock the tests move


def connect(service, **retries):
    config = Config(retries=retries or {"total_max_attempts": 1})
    return boto3.client(service, endpoint_url=CLOCK, config=config, **CREDENTIALS)


@pytest.fixture(scope="module")
def db():
    return connect("dynamodb")


@pytest.fixture(scope="module")
def watch():
    return connect("cloudwatch")


@pytest.fixture(scope="module")
def scaling():
    return connect("application-autoscaling")


def advance(duration):
    with urllib.request.urlopen(CLOCK + "/_stator/clock", json.dumps({"advance": duration}).encode()) as answer:
        assert answer.status == 200


def now():
    with urllib.request.urlopen(CLOCK + "/_stator/clock") as answer:
        return datetime.strptime(json.load(answer)["now"].split(".")[0].rstrip("Z") + "+0000", "%Y-%m-%dT%H:%M:%S%z")


@pytest.fixture
def make(db):
    """Makes tables with a provisioned throughput, and removes them."""
    made = []

    def make(read, write, **more):
        name = "cap-" + uuid.uuid4().hex[:12]
        more = {"AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], **more}
        db.create_table(TableName=name, KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                        **({"ProvisionedThroughput": {"ReadCapacityUnits": read, "WriteCapacityUnits": write}} if read else {}), **more)
        db.get_waiter("table_exists").wait(TableName=name)
        made.append(name)
        return name

    yield make
    for name in made:
        db.delete_table(TableName=name)


def item(key, kb=0, **more):
    return {"pk": {"S": key}, "v": {"S": "x" * (kb * 1024)}, **more}


def throttled(call, tries=1000):
    """Calls until it is throttled, and returns the error's answer."""
    for i in range(tries):
        try:
            call(i)
        except ClientError as e:
            return e.response
    raise AssertionError("never throttled")


def test_throttling_reasons(db, make):
    name = make(1, 1)
    answer = throttled(lambda i: db.put_item(TableName=name, Item=item(str(i), 399)))
    assert answer["Error"]["Code"] == "ProvisionedThroughputExceededException"
    arn = db.describe_table(TableName=name)["Table"]["TableArn"]
    assert answer["ThrottlingReasons"] == [{"reason": "TableWriteProvisionedThroughputExceeded", "resource": arn}]
    with pytest.raises(db.exceptions.ProvisionedThroughputExceededException):
        db.delete_item(TableName=name, Key={"pk": {"S": "0"}})


def test_hot_key(db, make):
    name = make(10, 20000)
    answer = throttled(lambda i: db.put_item(TableName=name, Item=item("hot", 399)))
    assert [r["reason"] for r in answer["ThrottlingReasons"]] == ["TableWriteKeyRangeThroughputExceeded"]


def test_cold_index(db, make):
    name = make(5, 1000, AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "g")],
                GlobalSecondaryIndexes=[{"IndexName": "cold", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"},
                                         "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}])
    answer = throttled(lambda i: db.put_item(TableName=name, Item=item(str(i), 399, g={"S": "a"})))
    assert [r["reason"] for r in answer["ThrottlingReasons"]] == ["IndexWriteProvisionedThroughputExceeded"]
    db.put_item(TableName=name, Item=item("without"))


def test_on_demand_maximum(db, make):
    name = make(0, 0, BillingMode="PAY_PER_REQUEST", OnDemandThroughput={"MaxReadRequestUnits": 2, "MaxWriteRequestUnits": 5})
    answer = throttled(lambda i: db.put_item(TableName=name, Item=item(str(i), 20)))
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == ("ThrottlingException", "Throughput exceeds the maximum OnDemandThroughput configured on table or index")
    assert [r["reason"] for r in answer["throttlingReasons"]] == ["TableWriteMaxOnDemandThroughputExceeded"]


@pytest.mark.parametrize("mode", ["standard", "adaptive"])
def test_retries_get_through_a_burst(db, make, mode):
    name = make(50, 50)
    throttled(lambda i: db.put_item(TableName=name, Item=item(str(i), 399)))
    patient = connect("dynamodb", mode=mode, max_attempts=12)
    for i in range(60):
        patient.put_item(TableName=name, Item=item(str(i)))
    with boto3.resource("dynamodb", endpoint_url=CLOCK, config=Config(retries={"mode": mode, "max_attempts": 12}), **CREDENTIALS).Table(name).batch_writer() as batch:
        for i in range(60):
            batch.put_item(Item={"pk": str(i)})


def test_decreases(db, make):
    advance("24h")
    name = make(100, 100)
    for units in range(99, 95, -1):
        db.update_table(TableName=name, ProvisionedThroughput={"ReadCapacityUnits": units, "WriteCapacityUnits": 100})
    with pytest.raises(db.exceptions.LimitExceededException, match="Provisioned throughput decreases are limited within a given UTC day"):
        db.update_table(TableName=name, ProvisionedThroughput={"ReadCapacityUnits": 95, "WriteCapacityUnits": 100})


def dimensions(**values):
    return [{"Name": k, "Value": v} for k, v in values.items()]


def test_metrics(db, watch, make):
    name = make(100, 100)
    consumed = 0
    for i in range(20):
        db.put_item(TableName=name, Item=item(str(i), 5))
        consumed += db.get_item(TableName=name, Key={"pk": {"S": str(i)}}, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"]
    consumed += db.scan(TableName=name, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"]
    with pytest.raises(db.exceptions.ConditionalCheckFailedException):
        db.put_item(TableName=name, Item=item("0"), ConditionExpression="attribute_not_exists(pk)")
    span = dict(StartTime=now() - timedelta(hours=1), EndTime=now() + timedelta(minutes=2), Period=60)

    def total(metric, *statistics, **dims):
        points = watch.get_metric_statistics(Namespace="AWS/DynamoDB", MetricName=metric, Dimensions=dimensions(TableName=name, **dims), **span,
                                             **{"ExtendedStatistics" if statistics[0].startswith("p") else "Statistics": list(statistics)})["Datapoints"]
        return sum(p["Sum"] for p in points) if statistics[0] == "Sum" else points

    assert total("ConsumedReadCapacityUnits", "Sum") == consumed
    assert total("ConsumedWriteCapacityUnits", "Sum") == 20 * 6 + 6
    assert total("ConditionalCheckFailedRequests", "Sum") == 1
    assert total("ReturnedItemCount", "Sum", Operation="Scan") == 20
    assert total("ProvisionedReadCapacityUnits", "Maximum")[0]["Maximum"] == 100
    latency = total("SuccessfulRequestLatency", "p50", "p99", Operation="GetItem")[0]
    assert 0 < latency["ExtendedStatistics"]["p50"] <= latency["ExtendedStatistics"]["p99"] < 10_000 and latency["Unit"] == "Milliseconds"
    listed = [m for page in watch.get_paginator("list_metrics").paginate(Namespace="AWS/DynamoDB", Dimensions=[{"Name": "TableName", "Value": name}]) for m in page["Metrics"]]
    assert {"ConsumedReadCapacityUnits", "SuccessfulRequestLatency", "ProvisionedWriteCapacityUnits"} <= {m["MetricName"] for m in listed}
    read = {"Namespace": "AWS/DynamoDB", "MetricName": "ConsumedReadCapacityUnits", "Dimensions": dimensions(TableName=name)}
    data = watch.get_metric_data(StartTime=span["StartTime"], EndTime=span["EndTime"], MetricDataQueries=[
        {"Id": "m1", "MetricStat": {"Metric": read, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "m2", "MetricStat": {"Metric": {**read, "MetricName": "ProvisionedReadCapacityUnits"}, "Period": 60, "Stat": "Average"}, "ReturnData": False},
        {"Id": "use", "Expression": "(m1/PERIOD(m1))/m2*100", "Label": "Utilization"},
        {"Id": "rate", "Expression": "RATE(FILL(m1, 0))"},
        {"Id": "all", "Expression": "SUM(METRICS())"},
    ])["MetricDataResults"]
    assert [r["Id"] for r in data] == ["use", "rate", "all"] and data[0]["Label"] == "Utilization"
    assert sum(data[0]["Values"]) == pytest.approx(consumed / 60)
    with pytest.raises(ClientError, match="ANOMALY_DETECTION_BAND is not supported"):
        watch.get_metric_data(StartTime=span["StartTime"], EndTime=span["EndTime"], MetricDataQueries=[{"Id": "e", "Expression": "ANOMALY_DETECTION_BAND(m1)"}])


def test_alarms(watch):
    alarm = "alarm-" + uuid.uuid4().hex[:8]
    watch.put_metric_alarm(AlarmName=alarm, Namespace="Shop", MetricName=alarm, Statistic="Sum", Period=60, EvaluationPeriods=2, Threshold=10,
                           ComparisonOperator="GreaterThanThreshold", AlarmDescription="too many orders", Tags=[{"Key": "team", "Value": "shop"}])
    watch.get_waiter("alarm_exists").wait(AlarmNames=[alarm])
    state = lambda: watch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]
    assert state()["StateValue"] == "INSUFFICIENT_DATA"
    for _ in range(3):
        watch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": alarm, "Values": [5.0, 1.0], "Counts": [2, 1], "Unit": "Count"}])
        advance("1m")
    assert state()["StateValue"] == "ALARM" and "[11.0 (" in state()["StateReason"] and "was greater than the threshold (10.0)" in state()["StateReason"]
    assert [a["AlarmName"] for a in watch.describe_alarms_for_metric(Namespace="Shop", MetricName=alarm)["MetricAlarms"]] == [alarm]
    advance("10m")
    assert state()["StateValue"] == "INSUFFICIENT_DATA"
    watch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="by hand")
    history = [h for page in watch.get_paginator("describe_alarm_history").paginate(AlarmName=alarm) for h in page["AlarmHistoryItems"]]
    assert [h["HistorySummary"] for h in history] == [
        "Alarm updated from INSUFFICIENT_DATA to OK", "Alarm updated from ALARM to INSUFFICIENT_DATA",
        "Alarm updated from INSUFFICIENT_DATA to ALARM", f'Alarm "{alarm}" created']
    arn = state()["AlarmArn"]
    assert watch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "shop"}]
    watch.delete_alarms(AlarmNames=[alarm])
    assert watch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"] == []


def test_contributor_insights(db, watch, make):
    name = make(1000, 1000)
    db.update_contributor_insights(TableName=name, ContributorInsightsAction="ENABLE")
    for i in range(30):
        db.put_item(TableName=name, Item=item("hot" if i % 3 else str(i)))
    d = db.describe_contributor_insights(TableName=name)
    assert d["ContributorInsightsStatus"] == "ENABLED" and d["ContributorInsightsMode"] == "ACCESSED_AND_THROTTLED_KEYS"
    rule = next(r for r in d["ContributorInsightsRuleList"] if "-PKC-" in r)
    assert rule in [r["Name"] for r in watch.describe_insight_rules()["InsightRules"]]
    report = watch.get_insight_rule_report(RuleName=rule, StartTime=now() - timedelta(minutes=5), EndTime=now() + timedelta(minutes=2), Period=60, MaxContributorCount=3)
    assert report["KeyLabels"] == ["pk"] and report["AggregateValue"] == 30 and report["ApproximateUniqueCount"] == 11
    assert report["Contributors"][0]["Keys"] == ["hot"] and report["Contributors"][0]["ApproximateAggregateValue"] == 20
    assert name in [s["TableName"] for s in db.list_contributor_insights()["ContributorInsightsSummaries"]]
    db.update_contributor_insights(TableName=name, ContributorInsightsAction="DISABLE")
    assert "ContributorInsightsRuleList" not in db.describe_contributor_insights(TableName=name)


def test_auto_scaling(db, watch, scaling, make):
    name = make(100, 100)
    db.put_item(TableName=name, Item=item("large", 399))
    target = dict(ServiceNamespace="dynamodb", ResourceId="table/" + name, ScalableDimension="dynamodb:table:ReadCapacityUnits")
    scaling.register_scalable_target(MinCapacity=100, MaxCapacity=1000, Tags={"team": "shop"}, **target)
    policy = scaling.put_scaling_policy(
        PolicyName="follow", PolicyType="TargetTrackingScaling", **target,
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 70.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBReadCapacityUtilization"}})
    assert len(policy["Alarms"]) == 4
    units = lambda: db.describe_table(TableName=name)["Table"]["ProvisionedThroughput"]["ReadCapacityUnits"]
    for _ in range(3):  # 58 reads of 100 units in each of three minutes, from the minute's start: enough for the alarm only if none falls into another minute
        advance(f"{60 - now().second}s")
        for _ in range(58):
            for _ in range(20):
                try:
                    db.get_item(TableName=name, Key={"pk": {"S": "large"}}, ConsistentRead=True, ProjectionExpression="pk")
                    break
                except ClientError:
                    advance("1s")
    advance("2m")
    assert units() > 100
    done = scaling.describe_scaling_activities(**target)["ScalingActivities"][0]
    assert done["StatusCode"] == "Successful" and done["StatusMessage"] == f"Successfully set read capacity units to {units()}. Change successfully fulfilled by dynamodb."
    assert done["Cause"].startswith(f"monitor alarm TargetTracking-table/{name}-AlarmHigh-") and done["Cause"].endswith(" in state ALARM triggered policy follow")
    assert [p["PolicyName"] for page in scaling.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="dynamodb", ResourceId="table/" + name) for p in page["ScalingPolicies"]] == ["follow"]
    scaling.put_scheduled_action(ScheduledActionName="soon", Schedule="rate(1 minute)", ScalableTargetAction={"MinCapacity": 500}, **target)
    advance("2m")
    assert units() == 500
    found = scaling.describe_scalable_targets(ServiceNamespace="dynamodb", ResourceIds=["table/" + name])["ScalableTargets"][0]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (500, 1000)
    assert scaling.list_tags_for_resource(ResourceARN=found["ScalableTargetARN"])["Tags"] == {"team": "shop"}
    with pytest.raises(scaling.exceptions.ValidationException):
        scaling.register_scalable_target(ServiceNamespace="dynamodb", ResourceId="table/nothing", ScalableDimension="dynamodb:table:ReadCapacityUnits", MinCapacity=1, MaxCapacity=2)
    scaling.deregister_scalable_target(**target)
    assert watch.describe_alarms(AlarmNamePrefix="TargetTracking-table/" + name)["MetricAlarms"] == []


def test_query_protocol():
    """Clients of some years ago send forms and read XML."""
    import xml.etree.ElementTree as ET

    def ask(**form):
        request = urllib.request.Request(CLOCK, urllib.parse.urlencode({"Version": "2010-08-01", **form}).encode(), {
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=00"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, ET.fromstring(answer.read())
        except urllib.error.HTTPError as e:
            return e.code, ET.fromstring(e.read())

    ns = {"w": "http://monitoring.amazonaws.com/doc/2010-08-01/"}
    at = now()
    status, _ = ask(**{"Action": "PutMetricData", "Namespace": "Form", "MetricData.member.1.MetricName": "m", "MetricData.member.1.Value": "4.5",
                       "MetricData.member.1.Dimensions.member.1.Name": "a", "MetricData.member.1.Dimensions.member.1.Value": "b<c",
                       "MetricData.member.1.Timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert status == 200
    status, answer = ask(**{"Action": "GetMetricStatistics", "Namespace": "Form", "MetricName": "m", "Period": "60", "Statistics.member.1": "Sum",
                            "Dimensions.member.1.Name": "a", "Dimensions.member.1.Value": "b<c",
                            "StartTime": (at - timedelta(minutes=5)).isoformat(), "EndTime": (at + timedelta(minutes=5)).isoformat()})
    assert status == 200
    assert [m.text for m in answer.findall("w:GetMetricStatisticsResult/w:Datapoints/w:member/w:Sum", ns)] == ["4.5"]
    assert datetime.fromisoformat(answer.find(".//w:Timestamp", ns).text.replace("Z", "+00:00")) == at.replace(second=0)
    assert answer.find("w:ResponseMetadata/w:RequestId", ns).text
    _, answer = ask(Action="ListMetrics", Namespace="Form")
    assert [d.text for d in answer.findall(".//w:Dimensions/w:member/w:Value", ns)] == ["b<c"]
    status, answer = ask(Action="DeleteAlarms", **{"AlarmNames.member.1": "nothing"})
    assert (status, answer.find("w:Error/w:Code", ns).text, answer.find("w:Error/w:Type", ns).text) == (404, "ResourceNotFound", "Sender")
    status, answer = ask(Action="PutDashboard")
    assert (status, answer.find("w:Error/w:Code", ns).text) == (400, "InvalidAction")


def test_prometheus(db, make):
    name = make(10, 10)
    db.put_item(TableName=name, Item=item("a", 2))
    with urllib.request.urlopen(CLOCK + "/metrics") as answer:
        text = answer.read().decode()
    line = next(l for l in text.splitlines() if l.startswith("stator_consumed_write_capacity_units_total{") and f'table_name="{name}"' in l)
    assert float(line.split()[-1]) == 3
    assert f'stator_successful_request_latency_seconds_count{{account="000000000000",region="us-east-1",operation="PutItem",table_name="{name}"}} 1' in text
