package ops

import (
	"fmt"
	"slices"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/metering"
)

// Rules for changes of throughput ("Quotas in Amazon DynamoDB", "Considerations when switching capacity modes in DynamoDB").
const (
	// freeDecreases is how many decreases of throughput a UTC day allows at any time. Further ones must be decreaseInterval
	// apart.
	freeDecreases    = 4
	decreaseInterval = time.Hour
	// modeSwitches is how many switches to on-demand mode are allowed within switchWindow.
	modeSwitches = 4
	switchWindow = 24 * time.Hour
)

// dayOf returns the number of the UTC day that contains ms.
func dayOf(ms int64) int64 { return ms / (24 * time.Hour).Milliseconds() }

// decreasesOn returns how many decreases there were on the UTC day that contains ms.
func decreasesOn(t *catalog.Throughput, ms int64) int64 {
	if dayOf(ms) != dayOf(t.LastDecrease) {
		return 0
	}
	return t.DecreasesToday
}

// limitTime formats a time as AWS's sentences about limits of changes of throughput do.
func limitTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("Monday, January 2, 2006 at 3:04:05 PM Coordinated Universal Time")
}

func subscriberLimit(format string, args ...any) error {
	return awserr.New(awserr.LimitExceeded, "Subscriber limit exceeded: "+fmt.Sprintf(format, args...))
}

// changeThroughput replaces a throughput and updates its history. It enforces the limit on decreases.
func (s *Service) changeThroughput(t *catalog.Throughput, next catalog.Throughput, now int64) error {
	if next.Read > t.Read || next.Write > t.Write {
		t.LastIncrease = now
	}
	if next.Read < t.Read || next.Write < t.Write {
		t.DecreasesToday = decreasesOn(t, now)
		free := t.LastDecrease + decreaseInterval.Milliseconds()
		tomorrow := (dayOf(now) + 1) * (24 * time.Hour).Milliseconds()
		if !s.NoChangeLimits && t.DecreasesToday >= freeDecreases && now < free {
			return subscriberLimit("Provisioned throughput decreases are limited within a given UTC day. After the first %d decreases, each subsequent decrease in the same UTC day can be performed at most once every %d seconds. Number of decreases today: %d. Last decrease at %s. Next decrease can be made at %s",
				freeDecreases, int(decreaseInterval.Seconds()), t.DecreasesToday, limitTime(t.LastDecrease), limitTime(min(free, tomorrow)))
		}
		t.LastDecrease = now
		t.DecreasesToday++
	}
	t.Read, t.Write = next.Read, next.Write
	return nil
}

// switchToOnDemand changes the billing mode, unless it was switched too often.
func (s *Service) switchToOnDemand(t *catalog.Table, now int64) error {
	since := now - switchWindow.Milliseconds()
	t.Switches = slices.DeleteFunc(t.Switches, func(at int64) bool { return at <= since })
	if !s.NoChangeLimits && len(t.Switches) >= modeSwitches {
		return subscriberLimit("Update to PayPerRequest mode are limited to %d times in 1 day(s). Last update at %s. Next update can be made at %s",
			modeSwitches, limitTime(t.SwitchedToOnDemand), limitTime(t.Switches[0]+switchWindow.Milliseconds()))
	}
	t.OnDemandBilling, t.SwitchedToOnDemand, t.Switches = true, now, append(t.Switches, now)
	t.Throughput.Read, t.Throughput.Write, t.OnDemand = 0, 0, nil // the history of its changes stays
	for _, x := range t.Indexes {
		x.Throughput.Read, x.Throughput.Write, x.OnDemand = 0, 0, nil
	}
	return nil
}

// checkQuotas rejects a new or changed table with more throughput than AWS's quotas of tables, indexes and accounts allow. before is
// the table's previous state, or nil. A change that does not increase the throughput is always allowed, even if it is still above a
// quota.
func (s *Service) checkQuotas(before, t *catalog.Table) error {
	if s.NoChangeLimits || t.OnDemandBilling {
		return nil
	}
	var account [2]int64
	for other := range s.Tables.Catalog.Tables() {
		if other.Namespace == t.Namespace && other.Name != t.Name && other.DeletingUntil == 0 {
			for i := range account {
				account[i] += sum(other, i)
			}
		}
	}
	for i := range account {
		had := int64(0)
		if before != nil {
			had = sum(before, i)
		}
		units := sum(t, i)
		if units <= had {
			continue
		}
		if err := checkTableQuota(t, i); err != nil {
			return err
		}
		if account[i]+units > metering.AccountMaxUnits {
			return awserr.New(awserr.LimitExceeded, fmt.Sprintf("This request would have caused the %s limit to be exceeded for the account in %s. Current %s reserved by the account: %d. Limit: %d. Requested: %d.%s",
				capacityNames[i], t.Region, capacityNames[i], account[i]+had, metering.AccountMaxUnits, units-had, referToGuide))
		}
	}
	return nil
}

const referToGuide = " Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."

// checkTableQuota rejects a throughput of the table or of a GSI above the quota, for reads (0) or writes (1).
func checkTableQuota(t *catalog.Table, direction int) error {
	name, what, scope := capacityNames[direction], "", "table"
	for i, units := range provisionedUnits(t, direction) {
		if i > 0 {
			what, scope = " for index "+t.Indexes[i-1].Name, "index"
		}
		if units > metering.TableMaxUnits {
			return awserr.New(awserr.LimitExceeded, fmt.Sprintf("The requested %s%s, %d, is above the per %s maximum for the account in %s. Per table maximum: %d.%s",
				name, what, units, scope, t.Region, metering.TableMaxUnits, referToGuide))
		}
	}
	return nil
}

// provisionedUnits returns the units of the table and of each GSI, for reads (0) or writes (1).
func provisionedUnits(t *catalog.Table, direction int) []int64 {
	out := []int64{[2]int64{t.Throughput.Read, t.Throughput.Write}[direction]}
	for _, x := range t.Indexes {
		out = append(out, [2]int64{x.Throughput.Read, x.Throughput.Write}[direction])
	}
	return out
}

// sum returns the provisioned throughput of the table and all its GSIs, for reads (0) or writes (1).
func sum(t *catalog.Table, direction int) int64 {
	total := int64(0)
	for _, n := range provisionedUnits(t, direction) {
		total += n
	}
	return total
}
