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
	// for Amazon DynamoDB"); nil for dynamodb:NAME. If there are several, each statement or transaction item needs the one that
	// matches it.
	actions []string
	// unbound means that policies can allow the operation only for all resources.
	unbound bool
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

// action returns the IAM action of a request that needs only one.
func (o *operation) action() string {
	if o.actions != nil {
		return o.actions[0]
	}
	return o.handler.action
}

// partiqlActions are the actions of PartiQL's four kinds of statement. Each statement needs one of them (statement.action).
var partiqlActions = []string{"dynamodb:PartiQLDelete", "dynamodb:PartiQLInsert", "dynamodb:PartiQLSelect", "dynamodb:PartiQLUpdate"}

// operations lists all of Stator's operations, sorted by name. It is the only such list; around, Metered and Missing derive
// from it.
var operations = []operation{
	{handler: bind(api.BatchExecuteStatement, (*Service).batchExecuteStatement), actions: partiqlActions, metered: true, batch: true},
	{handler: bind(api.BatchGetItem, (*Service).batchGetItem), metered: true, batch: true},
	{handler: bind(api.BatchWriteItem, (*Service).batchWriteItem), metered: true, batch: true},
	{handler: bind(api.CancelBulkOperation, (*Service).cancelBulkOperation), multiStep: true, settles: true},
	{handler: bind(api.CreateBackup, (*Service).createBackup), multiStep: true, settles: true},
	{
		handler: bind(createCheckpointOperation, (*Service).createCheckpoint), multiStep: true, settles: true,
		actions: []string{"stator:CreateCheckpoint"},
	},
	{handler: bind(api.CreateTable, (*Service).createTable), multiStep: true, settles: true},
	{handler: bind(api.DeleteBackup, (*Service).deleteBackup), multiStep: true, settles: true},
	{handler: bind(api.DeleteItem, (*Service).deleteItem), metered: true},
	{handler: bind(api.DeleteResourcePolicy, (*Service).deleteResourcePolicy), multiStep: true, settles: true},
	{handler: bind(api.DeleteTable, (*Service).deleteTable), multiStep: true, settles: true},
	{handler: bind(api.DescribeBackup, (*Service).describeBackup), settles: true},
	{handler: bind(api.DescribeBulkOperation, (*Service).describeBulkOperation), settles: true},
	{handler: bind(api.DescribeContinuousBackups, (*Service).describeContinuousBackups), settles: true},
	{handler: bind(api.DescribeContributorInsights, (*Service).describeContributorInsights), settles: true},
	{handler: bind(api.DescribeEndpoints, (*Service).describeEndpoints), unbound: true, settles: true},
	{handler: bind(api.DescribeExport, (*Service).describeExport), settles: true},
	{handler: bind(describeHotKeysOperation, (*Service).describeHotKeys), settles: true},
	{handler: bind(api.DescribeImport, (*Service).describeImport), settles: true},
	{handler: bind(api.DescribeLimits, (*Service).describeLimits), unbound: true, settles: true},
	{handler: bind(api.DescribeStream, (*Service).describeStream), settles: true},
	{handler: bind(api.DescribeTable, (*Service).describeTable), settles: true},
	{handler: bind(api.DescribeTimeToLive, (*Service).describeTimeToLive), settles: true},
	{handler: bind(api.ExecuteStatement, (*Service).executeStatement), actions: partiqlActions, metered: true},
	{handler: bind(api.ExecuteTransaction, (*Service).executeTransaction), actions: partiqlActions, metered: true},
	{handler: bind(api.ExportTableToPointInTime, (*Service).exportTableToPointInTime), multiStep: true, settles: true},
	{handler: bind(api.GetItem, (*Service).getItem), metered: true},
	{handler: bind(api.GetRecords, (*Service).getRecords), metered: true},
	{handler: bind(api.GetResourcePolicy, (*Service).getResourcePolicy), settles: true},
	{handler: bind(api.GetShardIterator, (*Service).getShardIterator), settles: true},
	{handler: bind(api.ImportTable, (*Service).importTable), multiStep: true, settles: true},
	{handler: bind(api.ListBackups, (*Service).listBackups), unbound: true, settles: true},
	{handler: bind(api.ListBulkOperations, (*Service).listBulkOperations), unbound: true, settles: true},
	{handler: bind(api.ListContributorInsights, (*Service).listContributorInsights), unbound: true, settles: true},
	{handler: bind(api.ListExports, (*Service).listExports), unbound: true, settles: true},
	{handler: bind(api.ListImports, (*Service).listImports), unbound: true, settles: true},
	{handler: bind(api.ListStreams, (*Service).listStreams), unbound: true, settles: true},
	{handler: bind(api.ListTables, (*Service).listTables), unbound: true, settles: true},
	{handler: bind(api.ListTagsOfResource, (*Service).listTagsOfResource), settles: true},
	{handler: bind(api.PutItem, (*Service).putItem), metered: true},
	{handler: bind(api.PutResourcePolicy, (*Service).putResourcePolicy), multiStep: true, settles: true},
	{handler: bind(api.Query, (*Service).query), metered: true},
	{handler: bind(api.RestoreTableFromBackup, (*Service).restoreTableFromBackup), multiStep: true, settles: true},
	{handler: bind(api.RestoreTableToPointInTime, (*Service).restoreTableToPointInTime), multiStep: true, settles: true},
	{handler: bind(api.Scan, (*Service).scan), metered: true},
	{handler: bind(api.StartBulkPutItems, (*Service).startBulkPutItems), multiStep: true, settles: true},
	{handler: bind(api.TagResource, (*Service).tagResource), multiStep: true, settles: true},
	{handler: bind(api.TransactGetItems, (*Service).transactGetItems), actions: []string{"dynamodb:GetItem"}, metered: true},
	{
		handler: bind(api.TransactWriteItems, (*Service).transactWriteItems), metered: true,
		actions: []string{"dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
	},
	{handler: bind(api.UntagResource, (*Service).untagResource), multiStep: true, settles: true},
	{handler: bind(api.UpdateContinuousBackups, (*Service).updateContinuousBackups), multiStep: true, settles: true},
	{handler: bind(api.UpdateContributorInsights, (*Service).updateContributorInsights), multiStep: true, settles: true},
	{handler: bind(api.UpdateItem, (*Service).updateItem), metered: true},
	{handler: bind(api.UpdateTable, (*Service).updateTable), multiStep: true, settles: true},
	{handler: bind(api.UpdateTimeToLive, (*Service).updateTimeToLive), multiStep: true, settles: true},
}

// binding connects an operation's name with the method that executes it.
type binding struct {
	name   string // without its API's prefix, e.g. PutItem
	action string // the IAM action of that name
	to     func(*Service) smithy.Handler
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
	return binding{name: name, action: "dynamodb:" + name, to: func(s *Service) smithy.Handler {
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
