package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// liveItems is the number of 1 KB items in the table of the section live.
const liveItems = 1_000_000

// addIndex is the request for an index of the table "large", and indexActive what DescribeTable answers once it is filled.
const (
	addIndex    = `{"TableName":"large","AttributeDefinitions":[{"AttributeName":"g","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}]}`
	indexActive = `"IndexStatus":"ACTIVE"`
)

// live measures background work beside requests: filling an index of a table in use, and how soon a change appears in its stream.
func live() error {
	servers, stop, err := start(statorDurable)
	defer stop()
	if err != nil {
		return err
	}
	s := servers[0]
	if err := loadLarge(s.Addr, 0, liveItems); err != nil {
		return err
	}
	waitIdle(s)
	const n = 16
	fmt.Printf("\n## Tables that live\n\n%d connections, open loop at 2,000 requests per second, %d items of 1 KB.\n\n| workload | beside | p50 ms | p99 ms | p99.9 ms | memory MB |\n|---|---|--:|--:|--:|--:|\n", n, liveItems)
	list := []workload{
		simple(getWorkload, "GetItem", 1, func(i int) string { return `{"TableName":"large","Key":` + largeKey(i*104729%liveItems) + `}` }),
		simple(putWorkload, "PutItem", 1, func(i int) string { return `{"TableName":"large","Item":` + largeItem(i*104729%liveItems) + `}` }),
	}
	for _, w := range list {
		r, err := measureRounds(s, w, n, 2000)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | nothing | %s | %.0f |\n", w.name, latencies(r), float64(s.RSS())/1e6)
	}
	c, err := dial(s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.call("UpdateTable", addIndex); err != nil {
		return err
	}
	began := time.Now()
	active := func() (bool, error) {
		answer, err := c.call("DescribeTable", `{"TableName":"large"}`)
		return strings.Contains(string(answer), indexActive), err
	}
	results := make([][]result, len(list))
	// Measure until the index is active. The last measurement counts only if the index was still being filled at its end.
	for done := false; !done; {
		for i, w := range list {
			one, err := measure(s, w, n, 2000)
			if err != nil {
				return err
			}
			if done, err = active(); err != nil {
				return err
			}
			if !done {
				results[i] = append(results[i], one)
			}
		}
	}
	took := time.Since(began)
	for i, w := range list {
		if len(results[i]) > 0 {
			fmt.Printf("| %s | an index with all attributes is filled | %s | %.0f |\n", w.name, latencies(results[i]), float64(s.RSS())/1e6)
		}
	}
	fmt.Printf("\nFilling the index took %.0f s beside that load.\n", took.Seconds())
	return streamLatency(c)
}

// streamLatency measures the time from a write's acknowledgement to the reading of its record, by a reader that polls without pause.
func streamLatency(c *conn) error {
	answer, err := c.call("CreateTable", simpleTable("followed", `"BillingMode":"PAY_PER_REQUEST","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}`))
	if err != nil {
		return err
	}
	var created struct {
		TableDescription struct{ LatestStreamArn string }
	}
	if err := json.Unmarshal(answer, &created); err != nil {
		return err
	}
	arn := created.TableDescription.LatestStreamArn
	answer, err = c.call("DynamoDBStreams_20120810.DescribeStream", `{"StreamArn":"`+arn+`"}`)
	if err != nil {
		return err
	}
	var described struct {
		StreamDescription struct{ Shards []struct{ ShardId string } }
	}
	if err := json.Unmarshal(answer, &described); err != nil {
		return err
	}
	// LATEST: each record that the reader sees belongs to the write before it.
	answer, err = c.call("DynamoDBStreams_20120810.GetShardIterator", `{"StreamArn":"`+arn+`","ShardId":"`+described.StreamDescription.Shards[0].ShardId+`","ShardIteratorType":"LATEST"}`)
	if err != nil {
		return err
	}
	var at struct{ ShardIterator, NextShardIterator string }
	if err := json.Unmarshal(answer, &at); err != nil {
		return err
	}
	var took []float64
	for i := range 1000 {
		if _, err := c.call("PutItem", fmt.Sprintf(`{"TableName":"followed","Item":{"pk":{"S":"%d"}}}`, i)); err != nil {
			return err
		}
		began := time.Now()
		for seen := false; !seen; {
			if answer, err = c.call("DynamoDBStreams_20120810.GetRecords", `{"ShardIterator":"`+at.ShardIterator+`"}`); err != nil {
				return err
			}
			seen = strings.Contains(string(answer), `"eventID"`)
			if err := json.Unmarshal(answer, &at); err != nil {
				return err
			}
			at.ShardIterator = at.NextShardIterator
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
	slices.Sort(took)
	fmt.Printf("A record is read %.2f ms after its write was acknowledged (p50; p99 %.2f ms).\n", took[len(took)/2], took[len(took)*99/100])
	return nil
}
