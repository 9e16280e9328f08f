package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/statordb/stator/internal/kv"
)

// watchedReads is a store whose scans, while armed, block at their 100th row until the request's context ends.
type watchedReads struct {
	kv.Store
	armed   *atomic.Bool
	reached chan struct{}
	after   *atomic.Int64 // rows read after the context ended
}

func (s watchedReads) Latest(ctx context.Context) (kv.Snapshot, error) {
	r, err := s.Store.Latest(ctx)
	return watchedSnapshot{r, ctx, s}, err
}

type watchedSnapshot struct {
	kv.Snapshot
	ctx context.Context
	s   watchedReads
}

func (r watchedSnapshot) Scan(rng kv.Range, opt kv.ScanOpt) (kv.Iterator, error) {
	it, err := r.Snapshot.Scan(rng, opt)
	if err != nil || !r.s.armed.Load() {
		return it, err
	}
	return &watchedIterator{Iterator: it, r: r}, nil
}

type watchedIterator struct {
	kv.Iterator
	r    watchedSnapshot
	rows int
}

func (it *watchedIterator) Next() bool {
	if it.rows++; it.rows == 100 {
		it.r.s.reached <- struct{}{}
		<-it.r.ctx.Done()
	} else if it.rows > 100 {
		it.r.s.after.Add(1)
	}
	return it.Iterator.Next()
}

// TestReadersGone checks that a read ends within a few rows once its client has gone.
func TestReadersGone(t *testing.T) {
	s := watchedReads{armed: &atomic.Bool{}, reached: make(chan struct{}), after: &atomic.Int64{}}
	d := open(t, Options{wrap: func(store kv.Store) kv.Store { s.Store = store; return s }})
	d.must("CreateTable", smallTable("gone"))
	for i := 0; i < 2000; i += 25 {
		var puts []obj
		for j := range 25 {
			puts = append(puts, obj{"PutRequest": obj{"Item": obj{"id": obj{"S": fmt.Sprint(i + j)}}}})
		}
		d.must("BatchWriteItem", obj{"RequestItems": obj{"gone": puts}})
	}
	for operation, body := range map[string]string{
		"Scan":             `{"TableName":"gone","FilterExpression":"attribute_exists(x)"}`,
		"ExecuteStatement": `{"Statement":"SELECT * FROM gone WHERE x = 1"}`,
	} {
		s.armed.Store(true)
		s.after.Store(0)
		c := dial(t, d)
		request := "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: DynamoDB_20120810." + operation + "\r\nX-Amz-Date: 20260101T000000Z\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00\r\n"
		if _, err := io.WriteString(c, request+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)); err != nil {
			t.Fatal(err)
		}
		<-s.reached
		s.armed.Store(false)
		c.Close()
		eventually(t, "the end of "+operation, func() bool { return d.http.InFlight() == 0 })
		if n := s.after.Load(); n > 500 {
			t.Errorf("%s read %d rows for a client that had gone", operation, n)
		}
	}
}

// TestCloseWithoutEnd checks that a request that never ends does not block Close forever.
func TestCloseWithoutEnd(t *testing.T) {
	held := heldStore{entered: make(chan struct{}, 1), release: make(chan struct{})}
	s, err := Open(Options{Listen: "127.0.0.1:0", InMemory: true, closeTimeout: 1, wrap: func(s kv.Store) kv.Store { held.Store = s; return held }})
	if err != nil {
		t.Fatal(err)
	}
	d := &db{t, s, ""}
	d.must("CreateTable", smallTable("load"))
	done := make(chan error, 1)
	go func() {
		_, err := d.call("PutItem", obj{"TableName": "load", "Item": obj{"id": obj{"S": "held"}}})
		done <- err
	}()
	<-held.entered
	if err := s.Close(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	close(held.release)
	<-done
}
