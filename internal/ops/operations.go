package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

// operation is all that the rest of the server needs to know about an operation.
type operation struct {
	// handler is the method that executes the operation, bound to its input and output types.
	handler binding
	// actions are the IAM actions that the caller needs on the resources of a request ("Actions, resources, and condition keys
	// for Amazon DynamoDB"). If there are several, each statement or transaction item needs the one that matches it.
	actions []string
	// metered means that requests are counted for every table that they use.
	metered bool
	// batch means that the parts of a request succeed or fail independently.
	batch bool
	// multiStep means that the operation ignores cancellation: it runs to its end even if the client has gone, because its first
	// steps must not be left without the others.
	multiStep bool
	// settles means that the answer waits until all servers have seen what the operation changed. Operations that only describe
	// settle too, so that no other server answers with an older state afterwards.
	settles bool
}

// partiqlActions are the actions of PartiQL's four kinds of statement. Each statement needs one of them (statement.action).
var partiqlActions = []string{"dynamodb:PartiQLDelete", "dynamodb:PartiQLInsert", "dynamodb:PartiQLSelect", "dynamodb:PartiQLUpdate"}

// operations lists all of Stator's operations, sorted by name. It is the only such list; around, Metered and Missing derive
// from it.
var operations = []operation{
	{handler: bind(api.BatchExecuteStatement, (*Service).batchExecuteStatement), actions: partiqlActions, metered: true, batch: true},
	{handler: bind(api.BatchGetItem, (*Service).batchGetItem), actions: []string{"dynamodb:BatchGetItem"}, metered: true, batch: true},
	{handler: bind(api.BatchWriteItem, (*Service).batchWriteItem), actions: []string{"dynamodb:BatchWriteItem"}, metered: true, batch: true},
	{handler: bind(api.CancelBulkOperation, (*Service).cancelBulkOperation), actions: []string{"dynamodb:CancelBulkOperation"}, multiStep: true, settles: true},
	{handler: bind(api.CreateBackup, (*Service).createBackup), actions: []string{"dynamodb:CreateBackup"}, multiStep: true, settles: true},
	{handler: bind(createCheckpointOperation, (*Service).createCheckpoint), actions: []string{"stator:CreateCheckpoint"}, multiStep: true, settles: true},
	{handler: bind(api.CreateTable, (*Service).createTable), actions: []string{"dynamodb:CreateTable"}, multiStep: true, settles: true},
	{handler: bind(api.DeleteBackup, (*Service).deleteBackup), actions: []string{"dynamodb:DeleteBackup"}, multiStep: true, settles: true},
	{handler: bind(api.DeleteItem, (*Service).deleteItem), actions: []string{"dynamodb:DeleteItem"}, metered: true},
	{handler: bind(api.DeleteResourcePolicy, (*Service).deleteResourcePolicy), actions: []string{"dynamodb:DeleteResourcePolicy"}, multiStep: true, settles: true},
	{handler: bind(api.DeleteTable, (*Service).deleteTable), actions: []string{"dynamodb:DeleteTable"}, multiStep: true, settles: true},
	{handler: bind(api.DescribeBackup, (*Service).describeBackup), actions: []string{"dynamodb:DescribeBackup"}, settles: true},
	{handler: bind(api.DescribeBulkOperation, (*Service).describeBulkOperation), actions: []string{"dynamodb:DescribeBulkOperation"}, settles: true},
	{handler: bind(api.DescribeContinuousBackups, (*Service).describeContinuousBackups), actions: []string{"dynamodb:DescribeContinuousBackups"}, settles: true},
	{handler: bind(api.DescribeContributorInsights, (*Service).describeContributorInsights), actions: []string{"dynamodb:DescribeContributorInsights"}, settles: true},
	{handler: bind(api.DescribeEndpoints, (*Service).describeEndpoints), actions: []string{"dynamodb:DescribeEndpoints"}, settles: true},
	{handler: bind(api.DescribeExport, (*Service).describeExport), actions: []string{"dynamodb:DescribeExport"}, settles: true},
	{handler: bind(describeHotKeysOperation, (*Service).describeHotKeys), actions: []string{"dynamodb:DescribeHotKeys"}, settles: true},
	{handler: bind(api.DescribeImport, (*Service).describeImport), actions: []string{"dynamodb:DescribeImport"}, settles: true},
	{handler: bind(api.DescribeLimits, (*Service).describeLimits), actions: []string{"dynamodb:DescribeLimits"}, settles: true},
	{handler: bind(api.DescribeStream, (*Service).describeStream), actions: []string{"dynamodb:DescribeStream"}, settles: true},
	{handler: bind(api.DescribeTable, (*Service).describeTable), actions: []string{"dynamodb:DescribeTable"}, settles: true},
	{handler: bind(api.DescribeTimeToLive, (*Service).describeTimeToLive), actions: []string{"dynamodb:DescribeTimeToLive"}, settles: true},
	{handler: bind(api.ExecuteStatement, (*Service).executeStatement), actions: partiqlActions, metered: true},
	{handler: bind(api.ExecuteTransaction, (*Service).executeTransaction), actions: partiqlActions, metered: true},
	{handler: bind(api.ExportTableToPointInTime, (*Service).exportTableToPointInTime), actions: []string{"dynamodb:ExportTableToPointInTime"}, multiStep: true, settles: true},
	{handler: bind(api.GetItem, (*Service).getItem), actions: []string{"dynamodb:GetItem"}, metered: true},
	{handler: bind(api.GetRecords, (*Service).getRecords), actions: []string{"dynamodb:GetRecords"}, metered: true},
	{handler: bind(api.GetResourcePolicy, (*Service).getResourcePolicy), actions: []string{"dynamodb:GetResourcePolicy"}, settles: true},
	{handler: bind(api.GetShardIterator, (*Service).getShardIterator), actions: []string{"dynamodb:GetShardIterator"}, settles: true},
	{handler: bind(api.ImportTable, (*Service).importTable), actions: []string{"dynamodb:ImportTable"}, multiStep: true, settles: true},
	{handler: bind(api.ListBackups, (*Service).listBackups), actions: []string{"dynamodb:ListBackups"}, settles: true},
	{handler: bind(api.ListBulkOperations, (*Service).listBulkOperations), actions: []string{"dynamodb:ListBulkOperations"}, settles: true},
	{handler: bind(api.ListContributorInsights, (*Service).listContributorInsights), actions: []string{"dynamodb:ListContributorInsights"}, settles: true},
	{handler: bind(api.ListExports, (*Service).listExports), actions: []string{"dynamodb:ListExports"}, settles: true},
	{handler: bind(api.ListImports, (*Service).listImports), actions: []string{"dynamodb:ListImports"}, settles: true},
	{handler: bind(api.ListStreams, (*Service).listStreams), actions: []string{"dynamodb:ListStreams"}, settles: true},
	{handler: bind(api.ListTables, (*Service).listTables), actions: []string{"dynamodb:ListTables"}, settles: true},
	{handler: bind(api.ListTagsOfResource, (*Service).listTagsOfResource), actions: []string{"dynamodb:ListTagsOfResource"}, settles: true},
	{handler: bind(api.PutItem, (*Service).putItem), actions: []string{"dynamodb:PutItem"}, metered: true},
	{handler: bind(api.PutResourcePolicy, (*Service).putResourcePolicy), actions: []string{"dynamodb:PutResourcePolicy"}, multiStep: true, settles: true},
	{handler: bind(api.Query, (*Service).query), actions: []string{"dynamodb:Query"}, metered: true},
	{handler: bind(api.RestoreTableFromBackup, (*Service).restoreTableFromBackup), actions: []string{"dynamodb:RestoreTableFromBackup"}, multiStep: true, settles: true},
	{handler: bind(api.RestoreTableToPointInTime, (*Service).restoreTableToPointInTime), actions: []string{"dynamodb:RestoreTableToPointInTime"}, multiStep: true, settles: true},
	{handler: bind(api.Scan, (*Service).scan), actions: []string{"dynamodb:Scan"}, metered: true},
	{handler: bind(api.StartBulkPutItems, (*Service).startBulkPutItems), actions: []string{"dynamodb:StartBulkPutItems"}, multiStep: true, settles: true},
	{handler: bind(api.TagResource, (*Service).tagResource), actions: []string{"dynamodb:TagResource"}, multiStep: true, settles: true},
	{handler: bind(api.TransactGetItems, (*Service).transactGetItems), actions: []string{"dynamodb:GetItem"}, metered: true},
	{handler: bind(api.TransactWriteItems, (*Service).transactWriteItems), actions: []string{"dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}, metered: true},
	{handler: bind(api.UntagResource, (*Service).untagResource), actions: []string{"dynamodb:UntagResource"}, multiStep: true, settles: true},
	{handler: bind(api.UpdateContinuousBackups, (*Service).updateContinuousBackups), actions: []string{"dynamodb:UpdateContinuousBackups"}, multiStep: true, settles: true},
	{handler: bind(api.UpdateContributorInsights, (*Service).updateContributorInsights), actions: []string{"dynamodb:UpdateContributorInsights"}, multiStep: true, settles: true},
	{handler: bind(api.UpdateItem, (*Service).updateItem), actions: []string{"dynamodb:UpdateItem"}, metered: true},
	{handler: bind(api.UpdateTable, (*Service).updateTable), actions: []string{"dynamodb:UpdateTable"}, multiStep: true, settles: true},
	{handler: bind(api.UpdateTimeToLive, (*Service).updateTimeToLive), actions: []string{"dynamodb:UpdateTimeToLive"}, multiStep: true, settles: true},
}

// binding connects an operation's name with the method that executes it.
type binding struct {
	name string // without its API's prefix, e.g. PutItem
	to   func(*Service) smithy.Handler
}

// bind ties a method to the input and output types of its operation. A wrong type does not compile.
func bind[In, Out any, PI interface {
	*In
	smithy.Shape
}, PO interface {
	*Out
	smithy.Renderer
}](op smithy.Operation[In, Out], run func(s *Service, ctx context.Context, req *Request, in *In) (*Out, error)) binding {
	_, name, _ := strings.Cut(op.Target, ".")
	return binding{name: name, to: func(s *Service) smithy.Handler {
		return smithy.Bind[In, Out, PI, PO](op, func(ctx context.Context, call *smithy.Call, in *In) (*Out, error) {
			return run(s, ctx, RequestOf(call), in)
		})
	}}
}

// Operations returns the handlers of all operations, sorted by name. Metered operations are numbered in that order, as in
// Metered.
func (s *Service) Operations() []smithy.Handler {
	list := make([]smithy.Handler, len(operations))
	metered := 0
	for i := range operations {
		op := &operations[i]
		place := -1
		if op.metered {
			place, metered = metered, metered+1
		}
		list[i] = s.around(op, op.handler.to(s), place)
	}
	return list
}

// Metered returns the names of the operations whose requests are counted for each table, in the order of their numbers.
func Metered() (names []string) {
	for i := range operations {
		if op := &operations[i]; op.metered {
			names = append(names, op.handler.name)
		}
	}
	return names
}

// Missing returns the targets of operations that AWS's model has and Stator lacks. They answer UnknownOperationException.
func (s *Service) Missing() []string {
	return smithy.Missing(slices.Concat(api.DynamoDBOperations, api.StreamsOperations), s.Operations())
}
