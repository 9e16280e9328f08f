package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
)

// On-demand maxima and warm throughput of tables and GSIs. Both have a number for reads and one for writes, and their errors the same
// form.

// unlimited stands for no on-demand maximum.
const unlimited = -1

// rates are a request's numbers for reads (0) and writes (1).
type rates [2]smithy.Opt[int64]

func onDemandRates(o *api.OnDemandThroughput) rates {
	if o == nil {
		return rates{}
	}
	return rates{o.MaxReadRequestUnits, o.MaxWriteRequestUnits}
}

func warmRates(w *api.WarmThroughput) rates {
	if w == nil {
		return rates{}
	}
	return rates{w.ReadUnitsPerSecond, w.WriteUnitsPerSecond}
}

func (r rates) any() bool { return r[0].Set || r[1].Set }

// Names of the numbers in AWS's sentences.
var (
	onDemandNames = [2]string{"MaxReadRequestUnits", "MaxWriteRequestUnits"}
	warmNames     = [2]string{"ReadUnitsPerSecond", "WriteUnitsPerSecond"}
	capacityNames = [2]string{"ReadCapacityUnits", "WriteCapacityUnits"}
	maximumNames  = [2]string{"TableMaxReadCapacityUnits", "TableMaxWriteCapacityUnits"}
)

// newRates reads the on-demand maxima and the warm throughput of a new table and its GSIs.
func (s *Service) newRates(t *catalog.Table, in *api.CreateTableInput) (err error) {
	globals := map[string]*api.GlobalSecondaryIndex{}
	for i := range in.GlobalSecondaryIndexes {
		globals[in.GlobalSecondaryIndexes[i].IndexName.Value] = &in.GlobalSecondaryIndexes[i]
	}
	if t.OnDemand, err = s.newOnDemand(t, "", in.OnDemandThroughput); err != nil {
		return err
	}
	for _, x := range t.Indexes {
		if !x.Global {
			continue
		}
		if x.OnDemand, err = s.newOnDemand(t, x.Name, globals[x.Name].OnDemandThroughput); err != nil {
			return err
		}
	}
	if t.Warm, err = s.newWarm(t, "", in.WarmThroughput, t.Throughput); err != nil {
		return err
	}
	for _, x := range t.Indexes {
		if !x.Global {
			continue
		}
		if x.Warm, err = s.newWarm(t, x.Name, globals[x.Name].WarmThroughput, x.Throughput); err != nil {
			return err
		}
	}
	return nil
}

// newOnDemand reads the on-demand maxima of a new table, or of a new index of it.
func (s *Service) newOnDemand(t *catalog.Table, index string, in *api.OnDemandThroughput) (*catalog.OnDemand, error) {
	r := onDemandRates(in)
	if !t.OnDemandBilling {
		of := ""
		if index != "" {
			of = " for index: " + index
		}
		for i := range r {
			if r[i].Set {
				return nil, awserr.Invalid(onDemandNames[i] + " for OnDemandThroughput" + of + " cannot be specified when table BillingMode is PROVISIONED.")
			}
		}
	}
	return s.mergeOnDemand(t, index, nil, r, 1)
}

// mergeOnDemand returns on-demand maxima with the numbers of a request. A number must not be 0 or below least; unlimited removes a maximum.
func (s *Service) mergeOnDemand(t *catalog.Table, index string, old *catalog.OnDemand, r rates, least int64) (*catalog.OnDemand, error) {
	of := " for table"
	if index != "" {
		of = " for index : " + index
	}
	for i := range r {
		switch v := r[i].Value; {
		case !r[i].Set:
		case v < least || v == 0:
			return nil, awserr.Invalid("Requested " + onDemandNames[i] + " for OnDemandThroughput" + of + " is outside of valid range")
		case v > metering.TableMaxUnits && !s.NoChangeLimits:
			return nil, subscriberLimit("Requested %s for OnDemandThroughput%s exceeds %s of the account in region %s", onDemandNames[i], of, maximumNames[i], t.Region)
		}
	}
	out := catalog.OnDemand{MaxRead: unlimited, MaxWrite: unlimited}
	if old != nil {
		out = *old
	}
	out.MaxRead, out.MaxWrite = r[0].Or(out.MaxRead), r[1].Or(out.MaxWrite)
	if out.MaxRead == unlimited && out.MaxWrite == unlimited {
		return nil, nil
	}
	return &out, nil
}

// describeOnDemand describes on-demand maxima.
func describeOnDemand(o *catalog.OnDemand) *api.OnDemandThroughput {
	if o == nil || o.MaxRead == unlimited && o.MaxWrite == unlimited {
		return nil
	}
	return &api.OnDemandThroughput{
		MaxReadRequestUnits:  smithy.Opt[int64]{Value: o.MaxRead, Set: o.MaxRead != unlimited},
		MaxWriteRequestUnits: smithy.Opt[int64]{Value: o.MaxWrite, Set: o.MaxWrite != unlimited},
	}
}

// onDemandAnswer describes the maxima in the answer to a request that changed them: it shows those that the request removed.
func onDemandAnswer(o *catalog.OnDemand, in *api.OnDemandThroughput) *api.OnDemandThroughput {
	d := describeOnDemand(o)
	if r := onDemandRates(in); r.any() {
		if d == nil {
			d = &api.OnDemandThroughput{}
		}
		for i, to := range []*smithy.Opt[int64]{&d.MaxReadRequestUnits, &d.MaxWriteRequestUnits} {
			if r[i].Set {
				*to = r[i]
			}
		}
	}
	return d
}

// Warm throughput of a new on-demand table, in units per second ("Understanding DynamoDB warm throughput").
const (
	initialWarmRead  = 12000
	initialWarmWrite = 4000
)

// leastWarm is the warm throughput that a table or GSI has because of its billing mode.
func leastWarm(t *catalog.Table, p catalog.Throughput) catalog.Warm {
	if t.OnDemandBilling {
		return catalog.Warm{Read: initialWarmRead, Write: initialWarmWrite}
	}
	return catalog.Warm{Read: p.Read, Write: p.Write}
}

// warmThroughput returns the warm throughput of a table or GSI: the one that was set or reached, but not less than it has because of
// its billing mode.
func warmThroughput(t *catalog.Table, set *catalog.Warm, p catalog.Throughput) catalog.Warm {
	w := leastWarm(t, p)
	if set != nil {
		w.Read, w.Write = max(w.Read, set.Read), max(w.Write, set.Write)
	}
	return w
}

// newWarm reads the warm throughput of a new table, or of a new index of it. nil is the one with which it starts anyway.
func (s *Service) newWarm(t *catalog.Table, index string, in *api.WarmThroughput, p catalog.Throughput) (*catalog.Warm, error) {
	if in == nil {
		return nil, nil
	}
	w := leastWarm(t, p)
	for i, least := range [2]int64{w.Read, w.Write} {
		if v := warmRates(in)[i]; !v.Set || v.Value >= least {
			continue
		}
		reason := " is lower than " + capacityNames[i] + " of ProvisionedThroughput"
		if t.OnDemandBilling {
			reason = " is lower than initial throughput for OnDemand. See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html#on-demand-capacity-mode-initial"
		}
		return nil, awserr.Invalid("Requested " + warmNames[i] + " for WarmThroughput" + warmOf(index) + reason)
	}
	return s.mergeWarm(t, index, w, in)
}

// raiseWarm returns a warm throughput with the numbers of a request, which must not be lower.
func (s *Service) raiseWarm(t *catalog.Table, index string, old catalog.Warm, in *api.WarmThroughput) (*catalog.Warm, error) {
	for i, least := range [2]int64{old.Read, old.Write} {
		if v := warmRates(in)[i]; v.Set && v.Value < least {
			return nil, awserr.Invalid("Requested " + warmNames[i] + " for WarmThroughput" + warmOf(index) +
				" is lower than current WarmThroughput, decreasing WarmThroughput is not supported")
		}
	}
	return s.mergeWarm(t, index, old, in)
}

func (s *Service) mergeWarm(t *catalog.Table, index string, old catalog.Warm, in *api.WarmThroughput) (*catalog.Warm, error) {
	r := warmRates(in)
	for i := range r {
		if r[i].Set && r[i].Value > metering.TableMaxUnits && !s.NoChangeLimits {
			return nil, subscriberLimit("Requested %s for WarmThroughput%s exceeds %s of the account in region %s", warmNames[i], warmOf(index), maximumNames[i], t.Region)
		}
	}
	return &catalog.Warm{Read: r[0].Or(old.Read), Write: r[1].Or(old.Write)}, nil
}

func warmOf(index string) string {
	if index == "" {
		return " for table"
	}
	return " for index " + index
}

// keepWarm keeps the warm throughput that a table or GSI had before a change of its capacity or billing mode.
func keepWarm(t *catalog.Table, warm **catalog.Warm, p catalog.Throughput, had catalog.Warm) {
	if now := warmThroughput(t, *warm, p); now.Read < had.Read || now.Write < had.Write {
		*warm = &catalog.Warm{Read: max(now.Read, had.Read), Write: max(now.Write, had.Write), Kept: *warm == nil || (*warm).Kept}
	}
}
