// Package metric has the vocabulary of metrics: the name of a metric, and the statistics of its values in a period.
//
// It is pure. Producers emit Datums; stores consume them.
package metric

import (
	"strings"
	"time"
)

// Dimension is a name and value that distinguishes metrics of the same name.
type Dimension struct{ Name, Value string }

// ID identifies a metric. Different dimensions make different metrics.
type ID struct {
	Account, Region string
	Namespace       string
	Name            string
	Dimensions      []Dimension // sorted by name
}

// Key returns a string that is equal exactly for equal IDs.
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

// Datum is the values of a metric in the period that begins at Time.
type Datum struct {
	ID
	Time time.Time
	Unit string // as in CloudWatch's StandardUnit
	Set  Set
	// Fine asks for a resolution of a second. Other data are kept per minute.
	Fine bool
	// Aggregate says that the datum repeats what others report with more dimensions.
	Aggregate bool
}
