// Package tail follows a table's stream over DynamoDB's public API, at any endpoint, and prints the changes.
package tail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/statordb/stator/internal/cli/client"
	"github.com/statordb/stator/internal/wait"
)

// Options configure Run.
type Options struct {
	Server client.Server
	Table  string
	// FromStart begins with the oldest record available, instead of the next one.
	FromStart bool
	// JSON prints each record as DynamoDB Streams returns it, one per line.
	JSON bool
	// Interval is the pause after a pass that found no records.
	Interval time.Duration
	Out      io.Writer
}

// retryPause is the pause when the server does not answer.
const retryPause = time.Second

// shard is a shard being followed.
type shard struct {
	id, parent string
	iterator   string
	last       string // last sequence number seen
	ended      bool
}

// follower is a tail in progress.
type follower struct {
	Options
	arn    string
	shards map[string]*shard
	order  []string // ids of the shards, parents first
}

// Run prints the table's changes until ctx ends.
func Run(ctx context.Context, opt Options) error {
	f := &follower{Options: opt, shards: map[string]*shard{}}
	err := f.follow(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// follow prints changes until an error.
func (f *follower) follow(ctx context.Context) error {
	var described struct {
		Table struct {
			LatestStreamArn     string
			StreamSpecification struct{ StreamEnabled bool }
		}
	}
	if err := f.Server.Call(ctx, "DynamoDB_20120810.DescribeTable", map[string]any{"TableName": f.Table}, &described); err != nil {
		return err
	}
	if f.arn = described.Table.LatestStreamArn; f.arn == "" || !described.Table.StreamSpecification.StreamEnabled {
		return fmt.Errorf("table %s has no stream; enable one with\n  aws dynamodb update-table --table-name %s --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES", f.Table, f.Table)
	}
	if err := f.discover(ctx, !f.FromStart); err != nil {
		return err
	}
	for {
		found, ended, err := f.look(ctx)
		if err != nil {
			return err
		}
		if ended {
			if err := f.discover(ctx, false); err != nil {
				return err
			}
			continue
		}
		if !found {
			if err := wait.Pause(ctx, f.Interval); err != nil {
				return err
			}
		}
	}
}

// discover adds shards that are not known yet, to be read from their beginning; with latest, from their end.
func (f *follower) discover(ctx context.Context, latest bool) error {
	in := map[string]any{"StreamArn": f.arn}
	for {
		var page struct {
			StreamDescription struct {
				Shards               []struct{ ShardId, ParentShardId string }
				LastEvaluatedShardId string
			}
		}
		if err := f.retried(ctx, "DynamoDBStreams_20120810.DescribeStream", in, &page); err != nil {
			return err
		}
		for _, s := range page.StreamDescription.Shards {
			if f.shards[s.ShardId] != nil {
				continue
			}
			kind := "TRIM_HORIZON"
			if latest {
				kind = "LATEST"
			}
			it, err := f.iterator(ctx, s.ShardId, kind, "")
			if err != nil {
				return err
			}
			f.shards[s.ShardId] = &shard{id: s.ShardId, parent: s.ParentShardId, iterator: it}
			f.order = append(f.order, s.ShardId)
		}
		if page.StreamDescription.LastEvaluatedShardId == "" {
			return nil
		}
		in["ExclusiveStartShardId"] = page.StreamDescription.LastEvaluatedShardId
	}
}

// iterator returns a shard iterator. number is the sequence number for kinds that need one, else "".
func (f *follower) iterator(ctx context.Context, id, kind, number string) (string, error) {
	in := map[string]any{"StreamArn": f.arn, "ShardId": id, "ShardIteratorType": kind}
	if number != "" {
		in["SequenceNumber"] = number
	}
	var out struct{ ShardIterator string }
	err := f.retried(ctx, "DynamoDBStreams_20120810.GetShardIterator", in, &out)
	return out.ShardIterator, err
}

// look reads each shard once, except those whose parent still has records: an item's changes stay in order only if parents are read to
// their end first. found means that there were records; ended, that a shard was read to its end, so it may have children.
func (f *follower) look(ctx context.Context) (found, ended bool, err error) {
	for _, id := range f.order {
		s := f.shards[id]
		if parent := f.shards[s.parent]; s.ended || parent != nil && !parent.ended {
			continue
		}
		var page struct {
			Records           []json.RawMessage
			NextShardIterator string
		}
		err := f.retried(ctx, "DynamoDBStreams_20120810.GetRecords", map[string]any{"ShardIterator": s.iterator}, &page)
		var refused *client.Error
		if errors.As(err, &refused) && refused.Kind == "ExpiredIteratorException" {
			// The server was unreachable for longer than iterators live.
			kind := "AFTER_SEQUENCE_NUMBER"
			if s.last == "" {
				kind = "LATEST"
			}
			if s.iterator, err = f.iterator(ctx, id, kind, s.last); err != nil {
				return found, ended, err
			}
			continue
		}
		if err != nil {
			return found, ended, err
		}
		for _, r := range page.Records {
			found = true
			if s.last, err = f.print(r); err != nil {
				return found, ended, err
			}
		}
		s.iterator = page.NextShardIterator
		if s.iterator == "" {
			// A shard that has ended may have children: follow discovers them.
			s.ended, ended = true, true
		}
	}
	return found, ended, nil
}

// print prints a record, and returns its sequence number.
func (f *follower) print(raw json.RawMessage) (number string, err error) {
	var r struct {
		EventName string
		Dynamodb  struct {
			ApproximateCreationDateTime float64
			Keys, OldImage, NewImage    json.RawMessage
			SequenceNumber              string
		}
		UserIdentity *struct{ PrincipalId string }
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return "", err
	}
	if f.JSON {
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			return "", err
		}
		_, err = fmt.Fprintln(f.Out, line.String())
		return r.Dynamodb.SequenceNumber, err
	}
	at := time.Unix(int64(r.Dynamodb.ApproximateCreationDateTime), 0).UTC().Format(time.RFC3339)
	line := fmt.Sprintf("%s %s %s", at, r.EventName, r.Dynamodb.Keys)
	if r.UserIdentity != nil {
		line += " by " + r.UserIdentity.PrincipalId
	}
	if r.Dynamodb.OldImage != nil {
		line += "\n  - " + string(r.Dynamodb.OldImage)
	}
	if r.Dynamodb.NewImage != nil {
		line += "\n  + " + string(r.Dynamodb.NewImage)
	}
	_, err = fmt.Fprintln(f.Out, line)
	return r.Dynamodb.SequenceNumber, err
}

// retried calls the server, and repeats the call while the server does not answer or fails with a status of 500 or more.
func (f *follower) retried(ctx context.Context, target string, in, out any) error {
	for {
		err := f.Server.Call(ctx, target, in, out)
		var refused *client.Error
		if err == nil || errors.As(err, &refused) && refused.Status < 500 {
			return err
		}
		if err := wait.Pause(ctx, retryPause); err != nil {
			return err
		}
	}
}
