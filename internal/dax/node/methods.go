package node

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
)

// Methods of the protocol, by the ids that clients send. Methods with unknown parameters are left out.
const (
	methodAuthorize           = 1489122155
	methodEndpoints           = 455855874
	methodDefineKeySchema     = -742646399
	methodDefineAttributeID   = -1230579644
	methodDefineAttributeList = 670678385
	methodGetItem             = 263244906
	methodPutItem             = -2106490455
	methodUpdateItem          = 1425579023
	methodDeleteItem          = 1013539361
	methodBatchGetItem        = -697851100
	methodBatchWriteItem      = 116217951
	methodQuery               = -931250863
	methodScan                = -1875390620
	methodTransactGetItems    = 1866287579
	methodTransactWriteItems  = -1160037738

	serviceID = 1
)

// method describes the requests of a method, and what answers them.
type method struct {
	values int     // number of CBOR values behind the method id
	limit  int     // largest request in bytes
	count  counted // the metric that counts its requests
	// needs is the permission that a request needs, on each of its tables; empty if run asks for permissions itself.
	needs permission
	// included is the action of DAX that a request needs if the protocol requires it beside operations; empty for operations.
	included string
	// enclosing is the operation whose parts need the permission; empty if the method is an operation of its own.
	enclosing string
	// target is the database's operation that the method runs; empty for methods of the protocol alone.
	target string
	// work says that the method may run long: its client is watched, see watchAfter, and it takes turns with other requests.
	work bool
	// many says that the method handles many items, so only a bounded number of its requests run at once.
	many bool
	// read says that the method changes nothing, so its answer may be dropped when memory is short: the client can retry.
	read bool
	// rules say how AWS words errors in the values of a request; nil if it has no rules for the operation.
	rules *smithy.Rules
	run   func(*conn, *wire.Reader) error
}

// methods are the supported methods. methodAuthorize has no run: it gets no answer, and request handles it.
var methods = map[int64]method{
	methodAuthorize:           {values: 5, limit: maxStranger},
	methodEndpoints:           {values: 0, limit: maxSmall, included: "dax:Endpoints", run: (*conn).endpoints},
	methodDefineKeySchema:     {values: 1, limit: maxSmall, included: "dax:DefineKeySchema", needs: permission{"dax:DefineKeySchema", "dynamodb:DescribeTable"}, run: (*conn).defineKeySchema},
	methodDefineAttributeID:   {values: 1, limit: maxNames, work: true, many: true, included: "dax:DefineAttributeListId", run: (*conn).defineAttributeListID},
	methodDefineAttributeList: {values: 1, limit: maxSmall, work: true, read: true, included: "dax:DefineAttributeList", run: (*conn).defineAttributeList},
	methodGetItem:             {target: api.GetItem.Target, values: 3, limit: maxOne, count: getItemRequests, needs: mayGet, read: true, run: (*conn).getItem},
	methodPutItem:             {target: api.PutItem.Target, values: 4, limit: maxOne, count: putItemRequests, needs: mayPut, work: true, rules: api.PutItem.Rules, run: (*conn).putItem},
	methodUpdateItem:          {target: api.UpdateItem.Target, values: 3, limit: maxOne, count: updateItemRequests, needs: mayUpdate, work: true, rules: api.UpdateItem.Rules, run: (*conn).updateItem},
	methodDeleteItem:          {target: api.DeleteItem.Target, values: 3, limit: maxOne, count: deleteItemRequests, needs: mayDelete, work: true, rules: api.DeleteItem.Rules, run: (*conn).deleteItem},
	methodBatchGetItem:        {target: api.BatchGetItem.Target, values: 2, limit: maxOne, count: batchGetItemRequests, needs: mayBatchGet, work: true, many: true, read: true, run: (*conn).batchGetItem},
	methodBatchWriteItem:      {target: api.BatchWriteItem.Target, values: 2, limit: wire.MaxMessage, count: batchWriteItemRequests, needs: mayBatchWrite, work: true, many: true, run: (*conn).batchWriteItem},
	methodQuery:               {target: api.Query.Target, values: 3, limit: maxOne, count: queryRequests, needs: mayQuery, work: true, many: true, read: true, run: (*conn).query},
	methodScan:                {target: api.Scan.Target, values: 2, limit: maxOne, count: scanRequests, needs: mayScan, work: true, many: true, read: true, run: (*conn).scan},
	methodTransactGetItems:    {target: api.TransactGetItems.Target, values: 4, limit: maxOne, count: transactGetRequests, needs: mayGet, enclosing: "TransactGetItems", work: true, many: true, read: true, run: (*conn).transactGetItems},
	methodTransactWriteItems:  {target: api.TransactWriteItems.Target, values: 9, limit: wire.MaxMessage, count: transactWriteRequests, work: true, many: true, run: (*conn).transactWriteItems},
}
