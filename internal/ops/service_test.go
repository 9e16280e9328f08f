package ops

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/backup"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/transfer"
)

type obj = map[string]any

// service is a Service over an in-memory store, without HTTP.
type service struct {
	*Service
	t        *testing.T
	handlers []smithy.Handler
}

func open(t *testing.T, opt Options) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if opt.Now == nil {
		opt.Now = time.Now
	}
	store, err := pebblekv.Open(pebblekv.Options{Now: opt.Now})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	coordinator := cluster.NewSolo(ctx, logger)
	opt.Meters = metering.NewRegistry(opt.Now, Metered()...)
	tables, err := catalog.Open(ctx, store, catalog.Options{Coordinator: coordinator, Now: opt.Now, Meters: opt.Meters})
	if err != nil {
		t.Fatal(err)
	}
	runner := jobs.New(ctx, coordinator, func(err error) { t.Error(err) })
	suspects := attempts.NewSuspects()
	opt.Tables = &table.Store{KV: store, Catalog: tables, Now: opt.Now}
	opt.Backups = &backup.Manager{Tables: opt.Tables, Jobs: runner, Now: opt.Now, Suspects: suspects}
	if opt.Transfers, err = transfer.Open(ctx, transfer.Options{
		Tables: opt.Tables, Jobs: runner, Coordinator: coordinator, Suspects: suspects, Now: opt.Now, Logger: logger,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		runner.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s := New(opt)
	if s.Faults != nil {
		s.Tables.Inject = s.InjectItem
	}
	return &service{Service: s, t: t, handlers: s.Operations()}
}

// call runs an operation for a caller.
func (s *service) call(caller smithy.Caller, operation string, in obj) (obj, error) {
	out := obj{}
	err := smithytest.Do(s.t.Context(), s.handlers, caller, operation, in, &out)
	return out, err
}

// must is call for requests that must succeed.
func (s *service) must(caller smithy.Caller, operation string, in obj) obj {
	s.t.Helper()
	out, err := s.call(caller, operation, in)
	if err != nil {
		s.t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// TestKeptWarmThroughput enables a stream on a table that has been on demand: the warm throughput that such a table keeps does not give
// its stream more shards.
func TestKeptWarmThroughput(t *testing.T) {
	s := open(t, Options{})
	c := smithy.Caller{Account: "111111111111", Region: "us-west-2", Verified: true}
	s.must(c, "CreateTable", obj{
		"TableName": "Tab", "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions": []obj{{"AttributeName": "pk", "AttributeType": "S"}}, "KeySchema": []obj{{"AttributeName": "pk", "KeyType": "HASH"}},
	})
	s.must(c, "UpdateTable", obj{"TableName": "Tab", "BillingMode": "PROVISIONED", "ProvisionedThroughput": obj{"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}})
	got := s.must(c, "UpdateTable", obj{"TableName": "Tab", "StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}})
	arn := got["TableDescription"].(obj)["LatestStreamArn"]
	d := s.must(c, "DescribeStream", obj{"StreamArn": arn})
	if shards := d["StreamDescription"].(obj)["Shards"].([]any); len(shards) != 1 {
		t.Errorf("%d shards", len(shards))
	}
}
