package node

import (
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// MetricNamespace is the namespace of DAX's metrics ("Viewing DAX metrics and dimensions").
const MetricNamespace = "AWS/DAX"

// counted is the index of a counter.
type counted int

// The miss counters follow their hit counters: page relies on it.
const (
	notCounted counted = iota
	getItemRequests
	batchGetItemRequests
	putItemRequests
	updateItemRequests
	deleteItemRequests
	batchWriteItemRequests
	queryRequests
	scanRequests
	transactGetRequests
	transactWriteRequests
	allRequests
	errorRequests
	throttledRequests
	faultRequests
	failedRequests
	itemHits
	itemMisses
	queryHits
	queryMisses
	scanHits
	scanMisses
	countedKinds
)

// metricNames are the names of the metrics in CloudWatch.
var metricNames = [countedKinds]string{
	getItemRequests: "GetItemRequestCount", batchGetItemRequests: "BatchGetItemRequestCount", putItemRequests: "PutItemRequestCount",
	updateItemRequests: "UpdateItemRequestCount", deleteItemRequests: "DeleteItemRequestCount",
	batchWriteItemRequests: "BatchWriteItemRequestCount", queryRequests: "QueryRequestCount", scanRequests: "ScanRequestCount",
	transactGetRequests: "TransactGetItemsCount", transactWriteRequests: "TransactWriteItemsCount", allRequests: "TotalRequestCount",
	errorRequests: "ErrorRequestCount", throttledRequests: "ThrottledRequestCount", faultRequests: "FaultRequestCount",
	failedRequests: "FailedRequestCount", itemHits: "ItemCacheHits", itemMisses: "ItemCacheMisses", queryHits: "QueryCacheHits",
	queryMisses: "QueryCacheMisses", scanHits: "ScanCacheHits", scanMisses: "ScanCacheMisses",
}

// counters count the requests of one account and region.
type counters struct {
	n     [countedKinds]atomic.Int64
	conns int // connections that use these counters; guarded by the node
}

// request counts a request, and its error if there is one. A nil receiver, that of an unauthenticated client, counts nothing.
func (c *counters) request(kind counted, err *awserr.Error) {
	if c == nil || kind == notCounted {
		return
	}
	c.n[kind].Add(1)
	c.n[allRequests].Add(1)
	if err == nil {
		return
	}
	c.n[failedRequests].Add(1)
	switch {
	case err.Status() >= 500:
		c.n[faultRequests].Add(1)
	case err.Throttled():
		c.n[throttledRequests].Add(1)
	default:
		c.n[errorRequests].Add(1)
	}
}

// item counts a lookup in the item cache.
func (c *counters) item(hit bool) {
	if hit {
		c.n[itemHits].Add(1)
	} else {
		c.n[itemMisses].Add(1)
	}
}

// page counts a lookup in the query cache.
func (c *counters) page(scan, hit bool) {
	kind := queryHits
	if scan {
		kind = scanHits
	}
	if !hit {
		kind++ // from hits to misses
	}
	c.n[kind].Add(1)
}

// Collect emits everything counted since the last call, and the current sizes of the caches.
func (n *Node) Collect(emit func(metric.Datum)) {
	at := n.service.opt.Now().Truncate(time.Minute)
	n.mu.Lock()
	namespaces := make(map[smithy.Caller]*counters, len(n.counters))
	for k, c := range n.counters {
		if namespaces[k] = c; c.conns == 0 { // unused: this is its last report
			delete(n.counters, k)
		}
	}
	n.mu.Unlock()
	cluster := n.cluster.Load()
	memory, used, evicted := n.Caches.Memory(), n.Caches.Used(), n.Caches.Evicted()
	for ns, c := range namespaces {
		tell := func(name, unit string, set metric.Set) {
			for i, dimensions := range dimensions(ns.Account, cluster.Name, cluster.Node) {
				emit(metric.Datum{
					ID:   metric.ID{Account: ns.Account, Region: ns.Region, Namespace: MetricNamespace, Name: name, Dimensions: dimensions},
					Time: at, Unit: unit, Set: set, Aggregate: i > 0,
				})
			}
		}
		for kind := counted(1); kind < countedKinds; kind++ {
			if count := c.n[kind].Swap(0); count > 0 {
				tell(metricNames[kind], "Count", metric.Of(float64(count), 1))
			}
		}
		tell("CacheMemoryUtilization", "Percent", metric.Of(100*float64(used)/float64(memory), 1))
		tell("EstimatedDbSize", "Bytes", metric.Of(float64(used), 1))
		tell("ClientConnections", "Count", metric.Of(float64(n.Clients()), 1))
		if evicted > 0 {
			tell("EvictedSize", "Bytes", metric.Of(float64(evicted), 1))
		}
	}
}

// dimensions returns the dimension sets under which each metric is emitted: by node, by cluster, and by account.
func dimensions(account, cluster, node string) [][]metric.Dimension {
	return [][]metric.Dimension{
		{{Name: "ClusterId", Value: cluster}, {Name: "NodeId", Value: node}},
		{{Name: "ClusterId", Value: cluster}},
		{{Name: "Account", Value: account}},
	}
}
