package mutate

import (
	"reflect"

	"github.com/statordb/stator/internal/api"
	scaling "github.com/statordb/stator/internal/autoscaling/api"
	metrics "github.com/statordb/stator/internal/cloudwatch/api"
	clusters "github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/smithy"
)

// operation is an operation and a generator of valid requests for it.
type operation struct {
	target  string
	in, out *shape
	weight  int
	make    func(*gen) obj
	// valid reports whether a body satisfies the model.
	valid func(body []byte) bool
}

func of[In, Out any, PI interface {
	*In
	smithy.Shape
}](op smithy.Operation[In, Out], weight int, make func(*gen) obj) operation {
	return operation{
		target: op.Target, in: shapeOf(reflect.TypeFor[In]()), out: shapeOf(reflect.TypeFor[Out]()), weight: weight, make: make, valid: valid[In, PI],
	}
}

// operations are those of all services, with their frequencies.
var operations = []operation{
	of(api.PutItem, 30, (*gen).putItem),
	of(api.GetItem, 20, (*gen).getItem),
	of(api.UpdateItem, 30, (*gen).updateItem),
	of(api.DeleteItem, 10, (*gen).deleteItem),
	of(api.Query, 25, (*gen).query),
	of(api.Scan, 20, (*gen).scan),
	of(api.BatchGetItem, 8, (*gen).batchGetItem),
	of(api.BatchWriteItem, 8, (*gen).batchWriteItem),
	of(api.TransactGetItems, 8, (*gen).transactGetItems),
	of(api.TransactWriteItems, 12, (*gen).transactWriteItems),
	of(api.ExecuteStatement, 20, (*gen).executeStatement),
	of(api.BatchExecuteStatement, 6, (*gen).batchExecuteStatement),
	of(api.ExecuteTransaction, 6, (*gen).executeTransaction),

	of(api.CreateTable, 6, (*gen).createTable),
	of(api.DescribeTable, 5, (*gen).tableName),
	of(api.UpdateTable, 8, (*gen).updateTable),
	of(api.DeleteTable, 2, (*gen).newTableName),
	of(api.ListTables, 2, (*gen).listTables),
	of(api.DescribeTimeToLive, 2, (*gen).tableName),
	of(api.UpdateTimeToLive, 3, (*gen).updateTimeToLive),
	of(api.DescribeContinuousBackups, 2, (*gen).tableName),
	of(api.UpdateContinuousBackups, 3, (*gen).updateContinuousBackups),
	of(api.CreateBackup, 3, (*gen).createBackup),
	of(api.DescribeBackup, 2, func(g *gen) obj { return obj{"BackupArn": g.known("BackupArn")} }),
	of(api.DeleteBackup, 1, func(g *gen) obj { return obj{"BackupArn": g.known("BackupArn")} }),
	of(api.ListBackups, 2, (*gen).listBackups),
	of(api.RestoreTableFromBackup, 2, (*gen).restoreFromBackup),
	of(api.RestoreTableToPointInTime, 2, (*gen).restoreToPointInTime),
	of(api.ExportTableToPointInTime, 2, (*gen).export),
	of(api.DescribeExport, 2, func(g *gen) obj { return obj{"ExportArn": g.known("ExportArn")} }),
	of(api.ListExports, 2, func(g *gen) obj { return g.page(obj{}, "MaxResults", 25) }),
	of(api.ImportTable, 2, (*gen).importTable),
	of(api.DescribeImport, 2, func(g *gen) obj { return obj{"ImportArn": g.known("ImportArn")} }),
	of(api.ListImports, 2, func(g *gen) obj { return g.page(obj{}, "PageSize", 25) }),
	of(api.StartBulkPutItems, 2, (*gen).bulkPut),
	of(api.DescribeBulkOperation, 2, func(g *gen) obj { return obj{"BulkOperationArn": g.known("BulkOperationArn")} }),
	of(api.CancelBulkOperation, 1, func(g *gen) obj { return obj{"BulkOperationArn": g.known("BulkOperationArn")} }),
	of(api.ListBulkOperations, 2, func(g *gen) obj { return g.page(obj{}, "MaxResults", 25) }),
	of(api.TagResource, 2, func(g *gen) obj { return obj{"ResourceArn": g.known("TableArn"), "Tags": g.tags()} }),
	of(api.UntagResource, 2, func(g *gen) obj { return obj{"ResourceArn": g.known("TableArn"), "TagKeys": []any{"a", "b"}} }),
	of(api.ListTagsOfResource, 2, func(g *gen) obj { return obj{"ResourceArn": g.known("TableArn")} }),
	of(api.PutResourcePolicy, 2, (*gen).putResourcePolicy),
	of(api.GetResourcePolicy, 2, func(g *gen) obj { return obj{"ResourceArn": g.known("TableArn")} }),
	of(api.DeleteResourcePolicy, 1, func(g *gen) obj { return obj{"ResourceArn": g.known("TableArn")} }),
	of(api.DescribeContributorInsights, 2, (*gen).tableName),
	of(api.UpdateContributorInsights, 2, (*gen).updateContributorInsights),
	of(api.ListContributorInsights, 1, func(g *gen) obj { return g.page(obj{}, "MaxResults", 100) }),
	of(api.DescribeLimits, 1, func(*gen) obj { return obj{} }),
	of(api.DescribeEndpoints, 1, func(*gen) obj { return obj{} }),

	of(api.ListStreams, 2, (*gen).listStreams),
	of(api.DescribeStream, 3, (*gen).describeStream),
	of(api.GetShardIterator, 5, (*gen).getShardIterator),
	of(api.GetRecords, 6, (*gen).getRecords),

	of(metrics.PutMetricData, 6, (*gen).putMetricData),
	of(metrics.GetMetricData, 8, (*gen).getMetricData),
	of(metrics.GetMetricStatistics, 4, (*gen).getMetricStatistics),
	of(metrics.ListMetrics, 3, (*gen).listMetrics),
	of(metrics.PutMetricAlarm, 6, (*gen).putMetricAlarm),
	of(metrics.DescribeAlarms, 3, (*gen).describeAlarms),
	of(metrics.DescribeAlarmsForMetric, 2, (*gen).describeAlarmsForMetric),
	of(metrics.DescribeAlarmHistory, 2, func(g *gen) obj { return g.page(obj{"AlarmName": g.alarmName()}, "MaxRecords", 100) }),
	of(metrics.SetAlarmState, 2, func(g *gen) obj {
		return obj{"AlarmName": g.alarmName(), "StateValue": pick(g.Source, "OK", "ALARM", "INSUFFICIENT_DATA"), "StateReason": "r"}
	}),
	of(metrics.DeleteAlarms, 1, func(g *gen) obj { return obj{"AlarmNames": []any{g.alarmName()}} }),
	of(metrics.EnableAlarmActions, 1, func(g *gen) obj { return obj{"AlarmNames": []any{g.alarmName()}} }),
	of(metrics.DisableAlarmActions, 1, func(g *gen) obj { return obj{"AlarmNames": []any{g.alarmName()}} }),
	of(metrics.DescribeInsightRules, 1, func(g *gen) obj { return g.page(obj{}, "MaxResults", 500) }),
	of(metrics.GetInsightRuleReport, 1, (*gen).insightReport),
	of(metrics.TagResource, 1, func(g *gen) obj { return obj{"ResourceARN": g.known("AlarmArn"), "Tags": g.tags()} }),
	of(metrics.UntagResource, 1, func(g *gen) obj { return obj{"ResourceARN": g.known("AlarmArn"), "TagKeys": []any{"a"}} }),
	of(metrics.ListTagsForResource, 1, func(g *gen) obj { return obj{"ResourceARN": g.known("AlarmArn")} }),

	of(scaling.RegisterScalableTarget, 3, (*gen).registerTarget),
	of(scaling.DeregisterScalableTarget, 1, (*gen).scalable),
	of(scaling.DescribeScalableTargets, 2, (*gen).describeScaling),
	of(scaling.PutScalingPolicy, 3, (*gen).putScalingPolicy),
	of(scaling.DeleteScalingPolicy, 1, func(g *gen) obj { return with(g.scalable(), "PolicyName", "policy") }),
	of(scaling.DescribeScalingPolicies, 2, (*gen).describeScaling),
	of(scaling.PutScheduledAction, 3, (*gen).putScheduledAction),
	of(scaling.DeleteScheduledAction, 1, func(g *gen) obj { return with(g.scalable(), "ScheduledActionName", "action") }),
	of(scaling.DescribeScheduledActions, 2, (*gen).describeScaling),
	of(scaling.DescribeScalingActivities, 2, (*gen).describeScaling),
	of(scaling.TagResource, 1, func(g *gen) obj {
		return obj{"ResourceARN": g.known("ScalableTargetARN"), "Tags": obj{"a": g.text(), "b": ""}}
	}),
	of(scaling.UntagResource, 1, func(g *gen) obj { return obj{"ResourceARN": g.known("ScalableTargetARN"), "TagKeys": []any{"a"}} }),
	of(scaling.ListTagsForResource, 1, func(g *gen) obj { return obj{"ResourceARN": g.known("ScalableTargetARN")} }),

	of(clusters.CreateCluster, 2, (*gen).createCluster),
	of(clusters.UpdateCluster, 1, func(g *gen) obj {
		return obj{"ClusterName": g.clusterName(), "Description": g.text(), "ParameterGroupName": "group"}
	}),
	of(clusters.DeleteCluster, 1, func(g *gen) obj { return obj{"ClusterName": g.clusterName()} }),
	of(clusters.DescribeClusters, 2, func(g *gen) obj { return g.page(obj{}, "MaxResults", 100) }),
	of(clusters.IncreaseReplicationFactor, 1, func(g *gen) obj { return obj{"ClusterName": g.clusterName(), "NewReplicationFactor": 2 + g.n(9)} }),
	of(clusters.DecreaseReplicationFactor, 1, func(g *gen) obj { return obj{"ClusterName": g.clusterName(), "NewReplicationFactor": 1 + g.n(2)} }),
	of(clusters.RebootNode, 1, func(g *gen) obj { return obj{"ClusterName": g.clusterName(), "NodeId": g.known("NodeId")} }),
	of(clusters.CreateParameterGroup, 1, func(g *gen) obj {
		return obj{"ParameterGroupName": pick(g.Source, "group", "group-2"), "Description": "d"}
	}),
	of(clusters.UpdateParameterGroup, 1, (*gen).updateParameterGroup),
	of(clusters.DeleteParameterGroup, 1, func(g *gen) obj { return obj{"ParameterGroupName": "group-2"} }),
	of(clusters.DescribeParameterGroups, 1, func(g *gen) obj { return g.page(obj{}, "MaxResults", 100) }),
	of(clusters.DescribeParameters, 1, func(g *gen) obj { return g.page(obj{"ParameterGroupName": "group"}, "MaxResults", 100) }),
	of(clusters.DescribeDefaultParameters, 1, func(g *gen) obj { return g.page(obj{}, "MaxResults", 100) }),
	of(clusters.CreateSubnetGroup, 1, func(g *gen) obj {
		return obj{"SubnetGroupName": pick(g.Source, "subnets", "subnets-2"), "SubnetIds": []any{"subnet-1", "subnet-2"}}
	}),
	of(clusters.UpdateSubnetGroup, 1, func(g *gen) obj { return obj{"SubnetGroupName": "subnets", "Description": g.text()} }),
	of(clusters.DeleteSubnetGroup, 1, func(g *gen) obj { return obj{"SubnetGroupName": "subnets-2"} }),
	of(clusters.DescribeSubnetGroups, 1, func(g *gen) obj { return g.page(obj{}, "MaxResults", 100) }),
	of(clusters.DescribeEvents, 1, func(g *gen) obj { return g.page(obj{}, "MaxResults", 100) }),
	of(clusters.TagResource, 1, func(g *gen) obj { return obj{"ResourceName": g.known("ClusterArn"), "Tags": g.tags()} }),
	of(clusters.UntagResource, 1, func(g *gen) obj { return obj{"ResourceName": g.known("ClusterArn"), "TagKeys": []any{"a"}} }),
	of(clusters.ListTags, 1, func(g *gen) obj { return obj{"ResourceName": g.known("ClusterArn")} }),
}

// byWeight contains each operation as often as its weight.
var byWeight = func() (out []*operation) {
	for i := range operations {
		for range operations[i].weight {
			out = append(out, &operations[i])
		}
	}
	return out
}()
