package cloudwatch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
)

// historyItem is an entry of the alarm history. The JSON form is the stored one.
type historyItem struct {
	Account, Region string `json:"-"`
	Alarm           string
	Time            int64 // milliseconds since 1970
	Type            string
	Summary         string
	Data            json.RawMessage
}

// history returns an entry about the alarm.
func (a *Alarm) history(ms int64, kind, summary string, data map[string]any) historyItem {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return historyItem{Account: a.Account, Region: a.Region, Alarm: a.Name, Time: ms, Type: kind, Summary: summary, Data: raw}
}

// putHistory stores entries. s.mu is held.
func (s *Service) putHistory(txn kv.Txn, items ...historyItem) error {
	for _, item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return err
		}
		s.items++
		s.written[[2]string{clone(item.Account), clone(item.Region)}]++
		if err := txn.Put(keyspace.AlarmHistoryItem(item.Account, item.Region, item.Time, s.items), raw); err != nil {
			return err
		}
	}
	return nil
}

// describeAlarmHistory scans an account's entries in order of time. The token is the key of the last entry returned; it must belong to the
// caller's account, or a client could read another account's history.
func (s *Service) describeAlarmHistory(ctx context.Context, call *smithy.Call, in *api.DescribeAlarmHistoryInput) (_ *api.DescribeAlarmHistoryOutput, err error) {
	after, err := readToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeAlarmHistoryOutput{AlarmHistoryItems: []api.AlarmHistoryItem{}}
	if in.AlarmTypes != nil && !slices.Contains(in.AlarmTypes, api.AlarmTypeMetricalarm) {
		return out, nil
	}
	account, region := s.Namespace(call.Caller)
	snap, err := s.KV.Latest(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	defer call.Turn.Leave()
	prefix := keyspace.AlarmHistory(account, region)
	if in.NextToken.Set && !strings.HasPrefix(after, string(prefix)) {
		return nil, errToken
	}
	reverse := in.ScanBy.Value != api.ScanByTimestampascending
	it, err := snap.Scan(kv.Prefix(prefix), kv.ScanOpt{Reverse: reverse})
	if err != nil {
		return nil, err
	}
	defer kv.CloseInto(it, &err)
	limit := int(in.MaxRecords.Or(100))
	if after != "" {
		it.Seek([]byte(after))
	}
	last := ""
	for err == nil && it.Next() {
		if err = call.Turn.Yield(ctx); err != nil {
			break
		}
		// The previous page ended with this entry. If it has been trimmed since then, Seek has found the next one.
		if string(it.Key()) == after {
			continue
		}
		var item historyItem
		if err = json.Unmarshal(it.Value(), &item); err != nil {
			break
		}
		at := float64(item.Time) / 1000 // milliseconds to seconds
		if in.AlarmName.Set && item.Alarm != in.AlarmName.Value || in.HistoryItemType.Set && item.Type != in.HistoryItemType.Value ||
			in.StartDate.Set && at < in.StartDate.Value || in.EndDate.Set && at > in.EndDate.Value {
			continue
		}
		if len(out.AlarmHistoryItems) == limit { // only an entry that matches justifies another page
			out.NextToken = smithy.Some(smithy.EncodeToken(last))
			break
		}
		last = string(it.Key())
		out.AlarmHistoryItems = append(out.AlarmHistoryItems, api.AlarmHistoryItem{
			AlarmName: smithy.Some(item.Alarm), AlarmType: smithy.Some(api.AlarmTypeMetricalarm), Timestamp: smithy.Some(at),
			HistoryItemType: smithy.Some(item.Type), HistorySummary: smithy.Some(item.Summary), HistoryData: smithy.Some(string(item.Data)),
		})
	}
	return out, err
}

const (
	// maxHistory is how many of an account's latest entries are kept in a region. AWS keeps all entries of historyKept.
	maxHistory = 20_000
	// historySlack is how many entries beyond that trigger a trim.
	historySlack = 1000
)

// trimHistory removes the oldest entries of accounts that have written many since the last trim.
func (s *Service) trimHistory(ctx context.Context) error {
	s.mu.Lock()
	var many [][2]string
	for account, n := range s.written {
		if n >= historySlack {
			many = append(many, account)
			delete(s.written, account)
		}
	}
	s.mu.Unlock()
	for _, account := range many {
		if err := s.trimHistoryOf(ctx, kv.Prefix(keyspace.AlarmHistory(account[0], account[1]))); err != nil {
			return err
		}
	}
	return nil
}

// trimHistoryOf removes all entries of a range except the latest maxHistory.
func (s *Service) trimHistoryOf(ctx context.Context, rng kv.Range) error {
	r, err := s.KV.Latest(ctx)
	if err != nil {
		return err
	}
	it, err := r.Scan(rng, kv.ScanOpt{Reverse: true, Stale: true})
	if err != nil {
		return errors.Join(err, r.Close())
	}
	var oldest []byte // oldest entry to keep
	n := 0
	for ; n < maxHistory && it.Next(); n++ {
		oldest = append(oldest[:0], it.Key()...)
	}
	older := n == maxHistory && it.Next()
	if err := errors.Join(it.Close(), r.Close()); err != nil || !older {
		return err
	}
	return s.KV.DeleteRange(ctx, kv.Range{Start: rng.Start, End: oldest})
}

// cleanHistory removes entries from before a time.
func (s *Service) cleanHistory(ctx context.Context, before time.Time) error {
	// A key ends with the time, in 8 bytes, and a sequence number of 4.
	timeOf := func(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-12:])) }
	return removeBefore(ctx, s.KV, kv.Prefix(keyspace.AllAlarmHistory()), timeOf, before.UnixMilli())
}
