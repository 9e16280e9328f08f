// Package metric has the values of metrics: what a metric is called, and the statistics of its values in a period.
//
// It is pure. Who measures makes Datums of them, who stores and evaluates them gets Datums.
package metric

import (
	"strings"
	"time"
)

// Dimension is a name with a value that tells a metric from others of its name.
type Dimension struct{ Name, Value string }

// ID says which metric: two metrics with other dimensions are two metrics.
type ID struct {
	Account, Region string
	Namespace       string
	Name            string
	Dimensions      []Dimension // sorted by name
}

// Key is a string that is the same for equal IDs alone.
func (id *ID) Key() string {
	var b strings.Builder
	for _, s := range []string{id.Account, id.Region, id.Namespace, id.Name} {
		b.WriteString(s)
		b.WriteByte(0)
	}
	for _, d := range id.Dimensions {
		b.WriteString(d.Name)
		b.WriteByte(0)
		b.WriteString(d.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// Datum is what happened to a metric in the period that begins at Time.
type Datum struct {
	ID
	Time time.Time
	Unit string // as in CloudWatch's StandardUnit
	Set  Set
	// Fine marks a datum that is to be kept for each second; others are for the minute.
	Fine bool
	// Aggregate marks a datum that repeats what others say with more dimensions.
	Aggregate bool
}
