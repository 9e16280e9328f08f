// Command daxload measures GetItem through the AWS SDK for Go over HTTP, and through the DAX client for Go, alternately, and prints a line
// of JSON for each. `make bench` runs it. It is in this module because the clients are dependencies of this module only.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-dax-go-v2/dax"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

var (
	endpoint    = flag.String("endpoint", "", "the HTTP `URL`")
	accelerator = flag.String("dax", "", "the DAX `URL`")
	connections = flag.String("connections", "1,16,64", "how many requests at a time")
	rounds      = flag.Int("rounds", 5, "rounds of each client, in turns")
	seconds     = flag.Float64("seconds", 1, "length of a round")
)

// result is the median of a client's rounds.
type result struct {
	Client      string
	Connections int
	Rate        float64 // requests per second
	P50, P99    float64 // microseconds
}

// getter is the interface that both clients implement.
type getter interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
}

const (
	table = "daxload"
	items = 1000
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "daxload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	keys := credentials.NewStaticCredentialsProvider("test", "test", "")
	sdk := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: endpoint, Credentials: keys,
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 1000 }),
	})
	cfg := dax.DefaultConfig()
	cfg.HostPorts, cfg.Region, cfg.Credentials = []string{*accelerator}, "us-east-1", keys
	accelerated, err := dax.New(cfg)
	if err != nil {
		return err
	}
	defer accelerated.Close()
	if err := prepare(ctx, sdk); err != nil {
		return err
	}
	clients := []struct {
		name string
		c    getter
	}{{"SDK over HTTP", sdk}, {"DAX", accelerated}}
	for i := range items { // warms the cache
		if _, err := accelerated.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(table), Key: key(i)}); err != nil {
			return err
		}
	}
	out := json.NewEncoder(os.Stdout)
	for _, text := range strings.Split(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		all := make([][]result, len(clients))
		for range *rounds {
			for i, c := range clients {
				r, err := measure(ctx, c.c, n)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				all[i] = append(all[i], r)
			}
		}
		for i, c := range clients {
			middle := func(of func(result) float64) float64 {
				var list []float64
				for _, r := range all[i] {
					list = append(list, of(r))
				}
				slices.Sort(list)
				return list[len(list)/2]
			}
			err := out.Encode(result{
				c.name, n, middle(func(r result) float64 { return r.Rate }), middle(func(r result) float64 { return r.P50 }), middle(func(r result) float64 { return r.P99 }),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func key(i int) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "item-" + strconv.Itoa(i)}}
}

// prepare creates the table, with items of 1 KB.
func prepare(ctx context.Context, db *dynamodb.Client) error {
	_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String(table), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		return err
	}
	if err := dynamodb.NewTableExistsWaiter(db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(table)}, time.Minute); err != nil {
		return err
	}
	for i := range items {
		it := key(i)
		it["n"] = &types.AttributeValueMemberN{Value: strconv.Itoa(i)}
		for j := range 10 {
			it["field"+strconv.Itoa(j)] = &types.AttributeValueMemberS{Value: strings.Repeat(strconv.Itoa(j), 90)}
		}
		if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(table), Item: it}); err != nil {
			return err
		}
	}
	return nil
}

// measure sends requests from n goroutines for a while.
func measure(ctx context.Context, db getter, n int) (r result, err error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	began := time.Now()
	end := began.Add(time.Duration(*seconds * float64(time.Second)))
	for g := range n {
		all.Add(1)
		go func() {
			defer all.Done()
			var mine []time.Duration
			for i := g * 131; ; i++ {
				start := time.Now()
				if start.After(end) {
					break
				}
				out, failed := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(table), Key: key(i % items)})
				if failed == nil && len(out.Item) != 12 {
					failed = fmt.Errorf("an item has %d attributes", len(out.Item))
				}
				if failed != nil {
					mu.Lock()
					err = failed
					mu.Unlock()
					return
				}
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		}()
	}
	all.Wait()
	if err != nil || len(took) == 0 {
		return r, err
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000 }
	return result{Rate: float64(len(took)) / time.Since(began).Seconds(), P50: at(0.5), P99: at(0.99)}, nil
}
