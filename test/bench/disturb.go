package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// disturbance is work of a server beside which the tails of single requests are measured.
type disturbance struct {
	name string
	// prepare makes what run needs; nil for nothing.
	prepare func(d *disturbed) error
	// run disturbs until ctx ends. It may end before; then it is run again.
	run func(ctx context.Context, d *disturbed) error
}

// disturbed is a server that is being disturbed.
type disturbed struct {
	*server
	large  int // items in the table "large"
	expiry atomic.Int64
}

// call makes one request on a connection of its own.
func (d *disturbed) call(op, body string) ([]byte, error) {
	c, err := dial(d.Addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.call(op, body)
}

// until calls op every 50 ms until its answer contains text.
func (d *disturbed) until(ctx context.Context, text, op, body string) error {
	for {
		answer, err := d.call(op, body)
		if err != nil || strings.Contains(string(answer), text) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var disturbances = []disturbance{
	{name: "a Scan of all", run: scanAll},
	{name: "four parallel Scans", run: func(ctx context.Context, d *disturbed) error {
		return times(4, func(int) error { return scanAll(ctx, d) })
	}},
	{name: "an export", prepare: enableRecovery, run: export},
	{name: "a backup", run: backUp},
	{name: "an index that is filled", run: fillIndex},
	{name: "TTL deletes 10,000 items/s", prepare: expiring, run: expire},
	{name: "2,000 connections arrive at once", run: arrive},
	{name: "a stream of 400 KB items", run: largeItems},
	{name: "a hot key at its limit", prepare: hotTable, run: hotKey},
}

// disturb measures tails beside disturbances, each in turn with undisturbed ones.
func disturb() error {
	var servers []*server
	var stop func()
	err := onCore(0, func() (err error) {
		servers, stop, err = start(statorDurable)
		return err
	})
	defer func() { stop() }()
	if err != nil {
		return err
	}
	d := &disturbed{server: servers[0], large: *tailItems}
	// The disturbing client is this process. The section is the last one, so that no other one is confined.
	if err := moveTo(1); err != nil {
		return err
	}
	if err := load(d.server); err != nil {
		return err
	}
	var list []workload
	for _, w := range workloads {
		if w.name == getWorkload || w.name == putWorkload {
			list = append(list, w)
		}
	}
	waitIdle(d.server)
	rates := make([]float64, len(list))
	for i, w := range list {
		m, err := pace(d.server, w, spinning(tailConnections, 0), 1)
		if err != nil {
			return err
		}
		rates[i] = m.Rate / 2
	}
	beside := func(f func(ctx context.Context) error) ([][]*measured, error) {
		results := make([][]*measured, len(list))
		for range *rounds {
			for i, w := range list {
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- f(ctx) }()
				// Without Spin, so that the disturbing client gets a part of the core.
				m, err := pace(d.server, w, job{Connections: tailConnections, Rate: rates[i], Warm: duration() / 5}, 1)
				cancel()
				if err := errors.Join(err, <-ended); err != nil {
					return nil, err
				}
				results[i] = append(results[i], m)
			}
		}
		return results, nil
	}
	nothing := func(context.Context) error { return nil }
	fmt.Printf("\n## Tails beside disturbances\n\nServer on one core, generator and disturbing client on another; %d connections, open loop at half of the highest rate; "+
		"p50 / p99 / p99.9 / max in ms, and in brackets the p99 of how late the generator was, which shares its core. The table that is read or copied has %d items of 1 KB.\n\n| beside |", tailConnections, d.large)
	for i, w := range list {
		fmt.Printf(" %s, %.0f/s, undisturbed | beside | p99, times as long |", w.name, rates[i])
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("--:|--:|--:|", len(list)))
	row := func(name string, idle, busy [][]*measured) {
		fmt.Printf("| %s |", name)
		for i := range list {
			p99 := func(m *measured) float64 { return m.quantile(99) }
			late := median(each(busy[i], func(m *measured) float64 { return m.lateness(99) }))
			fmt.Printf(" %s | %s (%.2f) | %.1f |", quantiles(idle[i]), quantiles(busy[i]), late, ratio(each(busy[i], p99), each(idle[i], p99)))
		}
		fmt.Println()
	}
	idle, err := beside(nothing)
	if err != nil {
		return err
	}
	if err := loadLarge(d.Addr, 0, d.large); err != nil {
		return err
	}
	busy, err := beside(nothing)
	if err != nil {
		return err
	}
	row("compactions after the load", idle, busy)
	waitIdle(d.server)
	for _, what := range disturbances {
		if !named(*only, what.name) {
			continue
		}
		if what.prepare != nil {
			if err := what.prepare(d); err != nil {
				return fmt.Errorf("%s: %w", what.name, err)
			}
		}
		waitIdle(d.server)
		idle, err := beside(nothing)
		if err != nil {
			return err
		}
		busy, err := beside(func(ctx context.Context) error {
			for ctx.Err() == nil {
				if err := what.run(ctx, d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what.name, err)
		}
		row(what.name, idle, busy)
	}
	return nil
}

// times runs f n times at once.
func times(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func scanAll(ctx context.Context, d *disturbed) error {
	c, err := dial(d.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return new(scanner).run(ctx, c)
}

// scanner scans the table "large" again and again.
type scanner struct {
	start       string // of the next page, as members of a request
	pages, size int    // so far; size is in bytes
}

// run scans until ctx ends. The next run goes on from there.
func (s *scanner) run(ctx context.Context, c *conn) error {
	for ctx.Err() == nil {
		answer, err := c.call("Scan", `{"TableName":"large"`+s.start+`}`)
		if err != nil {
			return err
		}
		s.pages, s.size, s.start = s.pages+1, s.size+len(answer), ""
		if key, ok := object(string(answer[max(0, len(answer)-400):]), "", `"LastEvaluatedKey":`); ok {
			s.start = `,"ExclusiveStartKey":` + key
		}
	}
	return nil
}

func enableRecovery(d *disturbed) error {
	_, err := d.call("UpdateContinuousBackups", `{"TableName":"large","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
	return err
}

func export(ctx context.Context, d *disturbed) error {
	answer, err := d.call("ExportTableToPointInTime", `{"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/large","S3Bucket":"bench-exports"}`)
	if err != nil {
		return err
	}
	arn, _ := object(string(answer), "", `"ExportArn":`)
	return d.until(ctx, `"COMPLETED"`, "DescribeExport", `{"ExportArn":`+arn+`}`)
}

func backUp(ctx context.Context, d *disturbed) error {
	answer, err := d.call("CreateBackup", `{"TableName":"large","BackupName":"bench"}`)
	if err != nil {
		return err
	}
	arn, _ := object(string(answer), "", `"BackupArn":`)
	backup := `{"BackupArn":` + arn + `}`
	if err := d.until(ctx, `"AVAILABLE"`, "DescribeBackup", backup); err != nil || ctx.Err() != nil {
		return err
	}
	_, err = d.call("DeleteBackup", backup)
	return err
}

// addIndex returns the request for an index of a table, and dropIndex the one that removes it. Once the index is filled, DescribeTable
// answers indexActive.
func addIndex(table string) string {
	return `{"TableName":"` + table + `","AttributeDefinitions":[{"AttributeName":"g","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}]}`
}

func dropIndex(table string) string {
	return `{"TableName":"` + table + `","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-g"}}]}`
}

const indexActive = `"IndexStatus":"ACTIVE"`

// fillIndex adds an index to the table "large" and waits until it is filled. If it is filled already, it drops it first.
func fillIndex(ctx context.Context, d *disturbed) error {
	answer, err := d.call("DescribeTable", `{"TableName":"large"}`)
	if err != nil {
		return err
	}
	if strings.Contains(string(answer), indexActive) {
		if _, err := d.call("UpdateTable", dropIndex("large")); err != nil {
			return err
		}
		for strings.Contains(string(answer), `"IndexStatus"`) && ctx.Err() == nil {
			if answer, err = d.call("DescribeTable", `{"TableName":"large"}`); err != nil {
				return err
			}
		}
	}
	if !strings.Contains(string(answer), `"IndexStatus"`) {
		if _, err := d.call("UpdateTable", addIndex("large")); err != nil {
			return err
		}
	}
	return d.until(ctx, indexActive, "DescribeTable", `{"TableName":"large"}`)
}

// expiringPerSecond is how many items expire each second.
const expiringPerSecond = 10_000

func expiring(d *disturbed) error {
	if _, err := d.call("CreateTable", simpleTable("expiring", "")); err != nil {
		return err
	}
	if _, err := d.call("UpdateTimeToLive", `{"TableName":"expiring","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"at"}}`); err != nil {
		return err
	}
	// The items of one round: as many seconds of them as its measurements and their pauses take.
	n := int(float64(*rounds)*4*(*seconds*1.5+1)) * expiringPerSecond
	begin := time.Now().Add(time.Duration(n/20_000+5) * time.Second).Unix()
	d.expiry.Store(begin)
	return times(8, func(w int) error {
		c, err := dial(d.Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		for i := w * 25; i < n; i += 8 * 25 {
			if _, err := c.call("BatchWriteItem", `{"RequestItems":{"expiring":[`+list(25, func(j int) string {
				return fmt.Sprintf(`{"PutRequest":{"Item":{"pk":{"S":"%d"},"at":{"N":"%d"}}}}`, i+j, begin+int64((i+j)/expiringPerSecond))
			})+`]}}`); err != nil {
				return err
			}
		}
		return nil
	})
}

// expire waits until items expire, and then while they do.
func expire(ctx context.Context, d *disturbed) error {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(time.Unix(d.expiry.Load(), 0))):
		<-ctx.Done()
	}
	return nil
}

func arrive(ctx context.Context, d *disturbed) error {
	err := times(2000, func(i int) error {
		c, err := dial(d.Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.call("GetItem", `{"TableName":"bench","Key":`+keyJSON(i)+`}`)
		return err
	})
	select {
	case <-ctx.Done():
	case <-time.After(time.Second / 2):
	}
	return err
}

func largeItems(ctx context.Context, d *disturbed) error {
	c, err := dial(d.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf(`{"pk":{"S":"big-%d"},"sk":{"N":"0"}`, i%16)
		if _, err := c.call("PutItem", `{"TableName":"plain","Item":`+key+`,"data":{"S":"`+random()[i%1000:i%1000+400_000]+`"}}}`); err != nil {
			return err
		}
		if _, err := c.call("GetItem", `{"TableName":"plain","Key":`+key+`}}`); err != nil {
			return err
		}
	}
	return nil
}

func hotTable(d *disturbed) error {
	_, err := d.call("CreateTable", simpleTable("hot", `"ProvisionedThroughput":{"ReadCapacityUnits":3000,"WriteCapacityUnits":1000}`))
	return err
}

// hotKey writes one item as fast as two connections can; most requests are throttled.
func hotKey(ctx context.Context, d *disturbed) error {
	return times(2, func(int) error {
		c, err := dial(d.Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		req := request("UpdateItem", `{"TableName":"hot","Key":{"pk":{"S":"hot"}},"UpdateExpression":"ADD n :one","ExpressionAttributeValues":{":one":{"N":"1"}}}`)
		for ctx.Err() == nil {
			if _, _, err := c.do(req); err != nil {
				return err
			}
		}
		return nil
	})
}
