package ops

import (
	"slices"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

// Missing returns the targets of the operations that the model has and Stator has not. They answer UnknownOperationException.
func (s *Service) Missing() []string {
	return smithy.Missing(slices.Concat(api.DynamoDBOperations, api.StreamsOperations), s.Operations())
}

// Operations returns every operation that Stator has, sorted by name.
func (s *Service) Operations() []smithy.Handler {
	list := []smithy.Handler{
		smithy.Bind(api.BatchExecuteStatement, s.batchExecuteStatement),
		smithy.Bind(api.BatchGetItem, s.batchGetItem),
		smithy.Bind(api.BatchWriteItem, s.batchWriteItem),
		smithy.Bind(api.CancelBulkOperation, s.cancelBulkOperation),
		smithy.Bind(api.CreateBackup, s.createBackup),
		smithy.Bind(createCheckpointOperation, s.createCheckpoint),
		smithy.Bind(api.CreateTable, s.createTable),
		smithy.Bind(api.DeleteBackup, s.deleteBackup),
		smithy.Bind(api.DeleteItem, s.deleteItem),
		smithy.Bind(api.DeleteResourcePolicy, s.deleteResourcePolicy),
		smithy.Bind(api.DeleteTable, s.deleteTable),
		smithy.Bind(api.DescribeBackup, s.describeBackup),
		smithy.Bind(api.DescribeBulkOperation, s.describeBulkOperation),
		smithy.Bind(api.DescribeContinuousBackups, s.describeContinuousBackups),
		smithy.Bind(api.DescribeContributorInsights, s.describeContributorInsights),
		smithy.Bind(api.DescribeEndpoints, s.describeEndpoints),
		smithy.Bind(api.DescribeExport, s.describeExport),
		smithy.Bind(describeHotKeysOperation, s.describeHotKeys),
		smithy.Bind(api.DescribeImport, s.describeImport),
		smithy.Bind(api.DescribeLimits, s.describeLimits),
		smithy.Bind(api.DescribeStream, s.describeStream),
		smithy.Bind(api.DescribeTable, s.describeTable),
		smithy.Bind(api.DescribeTimeToLive, s.describeTimeToLive),
		smithy.Bind(api.ExecuteStatement, s.executeStatement),
		smithy.Bind(api.ExecuteTransaction, s.executeTransaction),
		smithy.Bind(api.ExportTableToPointInTime, s.exportTableToPointInTime),
		smithy.Bind(api.GetItem, s.getItem),
		smithy.Bind(api.GetRecords, s.getRecords),
		smithy.Bind(api.GetResourcePolicy, s.getResourcePolicy),
		smithy.Bind(api.GetShardIterator, s.getShardIterator),
		smithy.Bind(api.ImportTable, s.importTable),
		smithy.Bind(api.ListBackups, s.listBackups),
		smithy.Bind(api.ListBulkOperations, s.listBulkOperations),
		smithy.Bind(api.ListContributorInsights, s.listContributorInsights),
		smithy.Bind(api.ListExports, s.listExports),
		smithy.Bind(api.ListImports, s.listImports),
		smithy.Bind(api.ListStreams, s.listStreams),
		smithy.Bind(api.ListTables, s.listTables),
		smithy.Bind(api.ListTagsOfResource, s.listTagsOfResource),
		smithy.Bind(api.PutItem, s.putItem),
		smithy.Bind(api.PutResourcePolicy, s.putResourcePolicy),
		smithy.Bind(api.Query, s.query),
		smithy.Bind(api.RestoreTableFromBackup, s.restoreTableFromBackup),
		smithy.Bind(api.RestoreTableToPointInTime, s.restoreTableToPointInTime),
		smithy.Bind(api.Scan, s.scan),
		smithy.Bind(api.StartBulkPutItems, s.startBulkPutItems),
		smithy.Bind(api.TagResource, s.tagResource),
		smithy.Bind(api.TransactGetItems, s.transactGetItems),
		smithy.Bind(api.TransactWriteItems, s.transactWriteItems),
		smithy.Bind(api.UntagResource, s.untagResource),
		smithy.Bind(api.UpdateContinuousBackups, s.updateContinuousBackups),
		smithy.Bind(api.UpdateContributorInsights, s.updateContributorInsights),
		smithy.Bind(api.UpdateItem, s.updateItem),
		smithy.Bind(api.UpdateTable, s.updateTable),
		smithy.Bind(api.UpdateTimeToLive, s.updateTimeToLive),
	}
	for i := range list {
		list[i] = s.metered(list[i])
	}
	return list
}
