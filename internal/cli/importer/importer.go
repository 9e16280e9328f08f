// Package importer puts items from elsewhere into tables of a running server, over DynamoDB's public protocol.
// [Exports] are exports made by AWS or Stator; [FromDynamoDBLocal] imports data files of DynamoDB Local.
package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/wait"
)

// target is the prefix of the operations used.
const target = "DynamoDB_20120810."

const (
	// batchItems and batchBytes bound a BatchWriteItem ("BatchWriteItem": 25 items, 16 MB).
	batchItems = 25
	batchBytes = 4 << 20
	// writers bounds the requests in progress.
	writers = 8
)

// Options configure an import.
type Options struct {
	Server client.Server
	Out    io.Writer // receives progress messages
}

// write is a put or delete of an item, as JSON: a put if put is not nil.
type write struct {
	put, key json.RawMessage
}

// sink writes to a table in concurrent batches.
type sink struct {
	ctx   context.Context
	group *errgroup.Group
	opt   *Options
	table string
	batch []write
	size  int
	items int64
}

func newSink(ctx context.Context, opt *Options, table string) *sink {
	s := &sink{opt: opt, table: table}
	s.group, s.ctx = errgroup.WithContext(ctx)
	s.group.SetLimit(writers)
	return s
}

// add writes an item at some time before finish returns. Until then, no item may be written twice: batches are not ordered.
func (s *sink) add(w write) error {
	if len(s.batch) == batchItems || s.size > 0 && s.size+len(w.put)+len(w.key) > batchBytes {
		s.send()
	}
	s.batch = append(s.batch, w)
	s.size += len(w.put) + len(w.key)
	s.items++
	return s.ctx.Err()
}

// send starts to write the batch.
func (s *sink) send() {
	batch := s.batch
	s.batch, s.size = nil, 0
	if len(batch) > 0 {
		s.group.Go(func() error { return s.opt.put(s.ctx, s.table, batch) })
	}
}

// finish returns once everything is written, with the first error.
func (s *sink) finish() error {
	s.send()
	return s.group.Wait()
}

// put writes a batch, and retries what the server has not processed, at growing intervals.
func (o *Options) put(ctx context.Context, table string, batch []write) error {
	requests := make([]any, len(batch))
	for i, w := range batch {
		if w.put != nil {
			requests[i] = map[string]any{"PutRequest": map[string]any{"Item": w.put}}
		} else {
			requests[i] = map[string]any{"DeleteRequest": map[string]any{"Key": w.key}}
		}
	}
	pending := map[string]any{table: requests}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		var out struct{ UnprocessedItems map[string]any }
		err := o.Server.Call(ctx, target+"BatchWriteItem", map[string]any{"RequestItems": pending}, &out)
		var refused *client.Error
		// A throttled table is no reason to give up: an import may take as long as its capacity demands.
		throttled := errors.As(err, &refused) && (refused.Kind == "ProvisionedThroughputExceededException" || refused.Kind == "ThrottlingException")
		if err != nil && !throttled {
			return err
		}
		if err == nil {
			if pending = out.UnprocessedItems; len(pending) == 0 {
				return nil
			}
		}
		if err := wait.Pause(ctx, pause); err != nil {
			return err
		}
	}
}

// exists reports whether a table exists. It waits for one that is being created.
func (o *Options) exists(ctx context.Context, table string) (exists bool, err error) {
	err = wait.Until(ctx, 100*time.Millisecond, func() (bool, error) {
		var d struct{ Table struct{ TableStatus string } }
		err := o.Server.Call(ctx, target+"DescribeTable", map[string]any{"TableName": table}, &d)
		var refused *client.Error
		if errors.As(err, &refused) && refused.Kind == "ResourceNotFoundException" {
			return true, nil
		}
		exists = d.Table.TableStatus == "ACTIVE"
		return exists, err
	})
	return exists, err
}

// create creates a table and returns once it is usable.
func (o *Options) create(ctx context.Context, in map[string]any) error {
	var out struct{}
	if err := o.Server.Call(ctx, target+"CreateTable", in, &out); err != nil {
		return err
	}
	name, _ := in["TableName"].(string)
	if _, err := o.exists(ctx, name); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "created table %s\n", name)
	return nil
}
