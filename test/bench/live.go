package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// live measures how soon a change appears in its table's stream.
func live() error {
	servers, stop, err := start(statorDurable)
	defer stop()
	if err != nil {
		return err
	}
	c, err := dial(servers[0].Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Printf("\n## Streams\n\n")
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
