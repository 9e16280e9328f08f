package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/throttle"
)

// Throttling says which limits throttle tables.
type Throttling struct {
	// Off disables throttling.
	Off bool
	// OnDemandAWS gives on-demand tables AWS's default limits; otherwise only their OnDemandThroughput limits them.
	OnDemandAWS bool
}

func names(list []KeyAttribute) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.Name
	}
	return out
}

// limits returns the limits of a table or GSI of that size in bytes.
func (t *Table) limits(th Throttling, p Throughput, o *OnDemand, splits []uint32, bytes int64) throttle.Config {
	cfg := throttle.Config{Splits: splits}
	switch {
	case th.Off:
	case !t.OnDemandBilling:
		cfg.Mode = throttle.Provisioned
		cfg.Rates = p.rates()
		cfg.Partitions = throttle.Partitions(float64(p.Read), float64(p.Write), bytes)
	case th.OnDemandAWS:
		cfg.Mode = throttle.OnDemandAWS
		cfg.Rates = o.rates()
		cfg.Partitions = throttle.Partitions(0, 0, bytes)
	case o != nil:
		cfg.Mode = throttle.OnDemandMaximum
		cfg.Rates = o.rates()
	}
	return cfg
}

// rates returns the provisioned rates.
func (t Throughput) rates() [2]float64 {
	return [2]float64{throttle.Reads: float64(t.Read), throttle.Writes: float64(t.Write)}
}

// rates returns the maximum rates; 0 for none.
func (o *OnDemand) rates() [2]float64 {
	if o == nil {
		return [2]float64{}
	}
	return [2]float64{throttle.Reads: float64(max(0, o.MaxRead)), throttle.Writes: float64(max(0, o.MaxWrite))}
}

// warm returns the rates that an on-demand table or GSI serves at least.
func warm(w *Warm) [2]float64 {
	out := [2]float64{throttle.Reads: throttle.InitialOnDemandReads, throttle.Writes: throttle.InitialOnDemandWrites}
	if w != nil {
		out[throttle.Reads] = max(out[throttle.Reads], float64(w.Read))
		out[throttle.Writes] = max(out[throttle.Writes], float64(w.Write))
	}
	return out
}

// metered describes the table to its Meter.
func (t *Table) metered(th Throttling, stats Stats) *metering.Table {
	out := &metering.Table{Account: t.Account, Region: t.Region, Name: t.Name}
	if t.Stream != nil {
		out.Stream = t.Stream.Label
	}
	add := func(r metering.Resource, key *KeySchema, p Throughput, o *OnDemand, w *Warm, splits []uint32, insights string) {
		r.Limits = t.limits(th, p, o, splits, stats.Bytes(r.ID))
		r.Warm = warm(w)
		r.PartitionKey, r.SortKey = names(key.Partition), names(key.Sort)
		if t.OnDemandBilling {
			r.OnDemandMax = o.rates()
		} else {
			r.Provisioned = p.rates()
		}
		switch insights {
		case InsightsAllKeys:
			r.Insights = metering.AllKeys
		case InsightsThrottledKeys:
			r.Insights = metering.ThrottledKeys
		}
		out.Resources = append(out.Resources, r)
	}
	add(metering.Resource{}, &t.Key, t.Throughput, t.OnDemand, t.Warm, t.Splits, t.Insights.mode())
	for _, x := range t.Indexes {
		if x.Global {
			add(metering.Resource{ID: x.ID, Name: x.Name, Global: true}, &x.Key, x.Throughput, x.OnDemand, x.Warm, x.Splits, x.Insights.mode())
		}
	}
	return out
}

// meter sets the Meter of a table that is about to be published.
func (c *Catalog) meter(t *Table) error {
	stats, err := c.Stats(context.Background(), t)
	if err != nil {
		return err
	}
	t.Meter = c.opt.Meters.Meter(t.ID, t.metered(c.opt.Throttling, stats))
	return nil
}

// KeepPartitions stores the partitions that splits for heat have made, and gives tables that have grown more partitions.
func (c *Catalog) KeepPartitions(ctx context.Context) error {
	var failed error
	for t := range c.Tables() {
		if c.opt.Throttling.Off || t.OnDemandBilling && !c.opt.Throttling.OnDemandAWS || t.Status(c.now()) != Active {
			continue
		}
		stats, err := c.Stats(ctx, t)
		if err != nil {
			return err
		}
		// Change the table only if something differs, because a change stops its writers for a moment.
		meter, same := t.Meter, true
		for _, r := range t.metered(c.opt.Throttling, stats).Resources {
			same = same && meter.Partitions(r.ID) == r.Limits.Partitions && slices.Equal(meter.Splits(r.ID), r.Limits.Splits)
		}
		if same {
			continue
		}
		_, err = c.Change(ctx, t.Namespace, t.Name, func(t *Table) error {
			t.Splits = meter.Splits(0)
			for _, x := range t.Indexes {
				if x.Global {
					x.Splits = meter.Splits(x.ID)
				}
			}
			return nil
		})
		failed = errors.Join(failed, err)
	}
	return failed
}

// Insights are the settings of Contributor Insights for a table or GSI.
type Insights struct {
	Mode    string // InsightsAllKeys or InsightsThrottledKeys
	Enabled bool
	Changed int64  // milliseconds since 1970
	Rules   string // suffix of the names of its rules
}

// Modes of Insights.
const (
	InsightsAllKeys       = "ACCESSED_AND_THROTTLED_KEYS"
	InsightsThrottledKeys = "THROTTLED_KEYS"
)

// mode returns the mode; "" if Contributor Insights is off.
func (i *Insights) mode() string {
	if i == nil || !i.Enabled {
		return ""
	}
	return i.Mode
}
