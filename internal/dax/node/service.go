package node

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/tenant"
	"github.com/statordb/stator/internal/turns"
)

// Database is what a Service needs of the database.
type Database interface {
	// Operations returns DynamoDB's operations. A Service calls those that DAX has.
	Operations() []smithy.Handler
	// Identify returns the table that serves a caller's requests by the name or Amazon Resource Name, if the caller may take the
	// action, e.g. dynamodb:GetItem, there or, unless index is empty, on the table's index; else AWS's error.
	Identify(call *smithy.Call, action, name, index string) (ops.TableIdentity, error)
	// CheckProjection returns what is wrong with a projection expression. On a cache hit, the database doesn't see the expression.
	CheckProjection(expression string, names smithy.Map[string]) error
	// Namespace returns the account and region whose tables the caller uses.
	Namespace(caller smithy.Caller) (account, region string)
	// AttributeListID returns the id of an account's attribute list, from 2 on, and stores the list if it is new.
	AttributeListID(ctx context.Context, account string, list []byte) (int64, error)
	// AttributeList returns the account's attribute list with an id, or nil if no list has that id.
	AttributeList(ctx context.Context, account string, id int64) ([]byte, error)
}

// ServiceOptions configure a Service.
type ServiceOptions struct {
	Database Database
	Auth     *auth.Authenticator
	// Tenants are the limits of accounts; nil for none.
	Tenants *tenant.Tenants
	// Role returns the role with an ARN, as IAM has it at the moment, or nil if IAM has no such role. Without a Role function, every role is
	// unknown.
	Role   func(arn string) *policy.Identity
	Now    func() time.Time
	Logger *slog.Logger
	// Turns keep long requests from starving short ones. All protocols share them.
	Turns *turns.Turns
	// Audit records requests on items; nil records none.
	Audit *audit.Log
	// Connections bounds the connections of all nodes together; 0 means 10,000, or half of the process's limit on open files if that
	// is less.
	Connections int
}

// Service is what all nodes of a server share.
type Service struct {
	opt ServiceOptions

	// Handlers of the operations that DAX calls.
	getItem            *smithy.Handler
	putItem            *smithy.Handler
	updateItem         *smithy.Handler
	deleteItem         *smithy.Handler
	query              *smithy.Handler
	scan               *smithy.Handler
	batchGetItem       *smithy.Handler
	batchWriteItem     *smithy.Handler
	transactGetItems   *smithy.Handler
	transactWriteItems *smithy.Handler

	gate    *gate
	budget  *budget
	many    chan struct{} // semaphore of requests on many items
	refills chan struct{} // semaphore of refills

	mu    sync.Mutex
	lists map[string]*lists // by account
}

const (
	defaultConnections = 10_000
	// manyPerCPU bounds the concurrent requests on many items, per CPU that the process uses, and minMany is the least total. Each
	// request may hold 16 MB.
	manyPerCPU = 8
	minMany    = 32
	// maxRefills bounds the concurrent refills of the item cache.
	maxRefills = 16
)

// NewService returns a Service.
func NewService(opt ServiceOptions) *Service {
	if opt.Connections == 0 {
		opt.Connections = defaultConnections
		if files := maxFiles(); files > 0 && files/2 < defaultConnections {
			opt.Connections = int(files / 2)
		}
	}
	s := &Service{
		opt: opt, lists: map[string]*lists{}, gate: newGate(opt.Connections), budget: newBudget(maxLarge),
		many: make(chan struct{}, max(minMany, manyPerCPU*runtime.GOMAXPROCS(0))), refills: make(chan struct{}, maxRefills),
	}
	want := map[string]**smithy.Handler{
		api.GetItem.Target: &s.getItem, api.PutItem.Target: &s.putItem, api.UpdateItem.Target: &s.updateItem,
		api.DeleteItem.Target: &s.deleteItem, api.Query.Target: &s.query, api.Scan.Target: &s.scan,
		api.BatchGetItem.Target: &s.batchGetItem, api.BatchWriteItem.Target: &s.batchWriteItem,
		api.TransactGetItems.Target: &s.transactGetItems, api.TransactWriteItems.Target: &s.transactWriteItems,
	}
	operations := opt.Database.Operations()
	for i := range operations {
		if h := want[operations[i].Target]; h != nil {
			*h = &operations[i]
		}
	}
	return s
}

// role returns the role with an ARN, or nil.
func (s *Service) role(arn string) *policy.Identity {
	if s.opt.Role == nil || arn == "" {
		return nil
	}
	return s.opt.Role(arn)
}

// enter waits for permission to run a request on many items. The caller must call leave.
func (s *Service) enter(ctx context.Context) error {
	select {
	case s.many <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave lets the next request on many items run.
func (s *Service) leave() { <-s.many }

// listsOf returns an account's attribute lists.
func (s *Service) listsOf(account string) *lists {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lists[account]
	if l == nil {
		l = newLists(account, s.opt.Database)
		s.lists[account] = l
	}
	return l
}
