package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

var awayAttacks = []Attack{
	{Point: 3, Name: "clients that go away in the middle of a Scan", Work: time.Minute, Run: goAway(costlyScan)},
	{Point: 3, Name: "clients that go away in the middle of an ExecuteStatement", Work: time.Minute, Run: goAway(costlyStatement)},
	{Point: 3, Name: "clients that go away in the middle of a GetMetricData", Work: time.Minute, Run: goAway(costlyData)},
	{Point: 3, Name: "SIGTERM while 100 costly requests run", Ends: true, Once: true, Run: endUnderLoad},
}

// costly is a request that is expensive for the server.
type costly struct{ operation, body string }

// filter returns a filter expression that is as expensive as possible.
func filter(value string) string {
	f := "contains(v," + value + ")"
	return "(" + f + strings.Repeat(" OR "+f, 149) + ")"
}

func costlyScan() costly {
	return costly{"Scan", `{"TableName":"costly","FilterExpression":` + quote(filter(":v")) + `,"ExpressionAttributeValues":{":v":{"S":"nowhere"}}}`}
}

func costlyStatement() costly {
	return costly{"ExecuteStatement", `{"Statement":` + quote("SELECT * FROM costly WHERE "+filter("'nowhere'")) + `}`}
}

func costlyData() costly {
	now := time.Now().Unix()
	var queries []string
	for i := range 20 {
		queries = append(queries, fmt.Sprintf(`{"Id":"e%d","Expression":"SUM([TIME_SERIES(1)%s])","Period":60}`, i, strings.Repeat(",TIME_SERIES(1)", 20)))
	}
	return costly{cloudWatch + "GetMetricData", fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,"MetricDataQueries":[%s]}`, now-86_400, now, strings.Join(queries, ","))}
}

// costlyItems creates the table that costly requests read: a megabyte of items that match no filter.
func costlyItems(ctx context.Context, t *Target) error {
	r := t.Call(ctx, Alice, "CreateTable", `{"TableName":"costly","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"N"}]}`)
	if r.Code() == "ResourceInUseException" {
		return nil
	}
	failed := r.Is("CreateTable", "ok")
	for i := range 20 {
		var puts []string
		for j := range 25 {
			puts = append(puts, fmt.Sprintf(`{"PutRequest":{"Item":{"pk":{"N":"%d"},"v":{"S":"%s"}}}}`, i*25+j, strings.Repeat("nowhera", 270)))
		}
		r := t.Call(ctx, Alice, "BatchWriteItem", `{"RequestItems":{"costly":[`+strings.Join(puts, ",")+`]}}`)
		failed = errors.Join(failed, r.Is("BatchWriteItem", "ok"))
	}
	return failed
}

// goAway has clients disconnect while their requests run. The server must notice and stop: the requests may cost at most half of what
// answering them costs.
func goAway(of func() costly) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		if err := costlyItems(ctx, t); err != nil {
			return err
		}
		request := of()
		start := t.CPU()
		const honest, clients, atOnce = 8, 100, 4
		for range honest {
			r := t.Call(ctx, Alice, request.operation, request.body)
			if err := r.Taken(request.operation); err != nil {
				return err
			}
			if r.Status != 200 {
				return nil // refused for its cost
			}
		}
		each := (t.CPU() - start) / honest
		start = t.CPU()
		var conns []net.Conn
		for range clients {
			c, err := t.Dial(ctx)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			if _, err := io.WriteString(c, t.Message(Alice, request.operation, request.body)); err != nil {
				return err
			}
			if len(conns) > atOnce { // requests must have begun before their clients go
				conns[0].Close()
				conns = conns[1:]
			}
		}
		for _, c := range conns {
			c.Close()
		}
		if err := t.Idle(); err != nil {
			return err
		}
		if work := t.CPU() - start; each > 20*time.Millisecond && work > clients*each/2 {
			return fmt.Errorf("%d clients that went away cost %v, of %v if they had stayed", clients, work, clients*each)
		}
		return nil
	}
}

// endUnderLoad terminates the server while it is busy with all kinds of requests, and with clients that have stopped sending.
func endUnderLoad(ctx context.Context, t *Target) error {
	if err := costlyItems(ctx, t); err != nil {
		return err
	}
	for i := range 100 {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		request := []costly{costlyScan(), costlyStatement(), costlyData()}[i%3]
		message := t.Message(Alice, request.operation, request.body)
		if i%10 == 9 {
			message = message[:len(message)-10] // the rest never arrives
		}
		if _, err := io.WriteString(c, message); err != nil {
			return err
		}
	}
	return t.End()
}
