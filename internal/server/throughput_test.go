package server

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// refused is call for requests that must fail with this kind of error and a message that contains text.
func (d *db) refused(kind, text, operation string, in any) {
	d.t.Helper()
	_, err := d.call(operation, in)
	var e *apiError
	if !errors.As(err, &e) || e.kind != kind || !strings.Contains(e.message, text) {
		d.t.Errorf("%s: %v, want %s: …%s…", operation, err, kind, text)
	}
}

// TestDecreases decreases a table's throughput: four times a day at any time, then once an hour.
func TestDecreases(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.must("CreateTable", provisioned("Tab", 100, 100))
	units := 100
	decrease := func() obj {
		units--
		return obj{"TableName": "Tab", "ProvisionedThroughput": throughput(units, 100)}
	}
	for range 4 {
		d.must("UpdateTable", decrease())
		clock.Advance(time.Minute)
	}
	d.refused("LimitExceededException", "Number of decreases today: 4. Last decrease at Sunday, November 1, 2026 at 12:03:00 PM Coordinated Universal Time. Next decrease can be made at Sunday, November 1, 2026 at 1:03:00 PM Coordinated Universal Time", "UpdateTable", decrease())
	d.must("UpdateTable", obj{"TableName": "Tab", "ProvisionedThroughput": throughput(200, 100)}) // increases are not limited
	for hour := 0; clock.Now().UTC().Day() == 1; hour++ {
		clock.Advance(time.Hour)
		d.must("UpdateTable", decrease())
	}
	described := d.must("DescribeTable", obj{"TableName": "Tab"})["Table"].(obj)["ProvisionedThroughput"].(obj)
	if described["NumberOfDecreasesToday"] != 1.0 {
		t.Errorf("on the next day: %v", described)
	}
	free := open(t, Options{Now: clock.Now, NoChangeLimits: true})
	free.must("CreateTable", provisioned("Tab", 100, 100))
	for range 10 {
		free.must("UpdateTable", decrease())
	}
}

// TestModeSwitches switches a table to on-demand four times a day; the fifth attempt fails.
func TestModeSwitches(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now})
	d.must("CreateTable", provisioned("Tab", 1, 1))
	onDemand := obj{"TableName": "Tab", "BillingMode": "PAY_PER_REQUEST"}
	back := obj{"TableName": "Tab", "BillingMode": "PROVISIONED", "ProvisionedThroughput": throughput(1, 1)}
	for range 4 {
		d.must("UpdateTable", onDemand)
		clock.Advance(time.Hour)
		d.must("UpdateTable", back)
	}
	d.refused("LimitExceededException", "Update to PayPerRequest mode are limited to 4 times in 1 day(s)", "UpdateTable", onDemand)
	clock.Advance(20 * time.Hour)
	d.must("UpdateTable", onDemand)
}

// TestQuotas checks AWS's quotas on the throughput of tables and accounts.
func TestQuotas(t *testing.T) {
	d := open(t, Options{})
	d.refused("LimitExceededException", "The requested ReadCapacityUnits, 40001, is above the per table maximum for the account in us-east-1. Per table maximum: 40000. Refer to", "CreateTable", provisioned("Tab", 40001, 1))
	d.must("CreateTable", provisioned("One", 40000, 1))
	d.must("CreateTable", provisioned("Two", 39000, 1))
	d.refused("LimitExceededException", "This request would have caused the ReadCapacityUnits limit to be exceeded for the account in us-east-1. Current ReadCapacityUnits reserved by the account: 79000. Limit: 80000. Requested: 2000. Refer to", "CreateTable", provisioned("Tab", 2000, 1))
	d.must("CreateTable", provisioned("Tab", 1000, 1))
	d.refused("LimitExceededException", "Current ReadCapacityUnits reserved by the account: 80000. Limit: 80000. Requested: 1.", "UpdateTable", obj{"TableName": "Tab", "ProvisionedThroughput": throughput(1001, 1)})
}
