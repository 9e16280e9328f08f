// Package capacity counts capacity units as AWS does.
//
// Sources: "Read consistency", "DynamoDB read and write operations", "Managing complex workflows with DynamoDB
// transactions" (section on capacity).
package capacity

import "math"

const (
	readUnit  = 4096 // bytes in a read capacity unit
	writeUnit = 1024 // bytes in a write capacity unit
)

// Read returns the read capacity units for size bytes: half of them if eventually consistent.
func Read(size int, consistent bool) float64 {
	units := math.Max(1, math.Ceil(float64(size)/readUnit))
	if consistent {
		return units
	}
	return units / 2
}

// Page returns the read capacity units for a page of Query or Scan, for which sizes are added up before rounding. A page
// without items costs what the smallest read costs.
func Page(size int, consistent bool) float64 { return Read(size, consistent) }

// TransactionalRead returns the read capacity units for size bytes within TransactGetItems.
func TransactionalRead(size int) float64 { return 2 * Read(size, true) }

// Write returns the write capacity units for an item that had oldSize bytes before and has newSize after; 0 is no item.
func Write(oldSize, newSize int) float64 {
	return math.Max(1, math.Ceil(float64(max(oldSize, newSize))/writeUnit))
}

// IndexUnits are the units that a request consumed on one index.
type IndexUnits struct {
	Name   string
	Global bool
	Units  float64
}

// Consumed is what a request consumed on one table and its indexes.
type Consumed struct {
	Table   float64
	Indexes []IndexUnits
}

// Total returns the sum over the table and its indexes.
func (c *Consumed) Total() float64 {
	total := c.Table
	for _, x := range c.Indexes {
		total += x.Units
	}
	return total
}

// AddIndex adds units consumed on an index.
func (c *Consumed) AddIndex(name string, global bool, units float64) {
	for i := range c.Indexes {
		if c.Indexes[i].Name == name {
			c.Indexes[i].Units += units
			return
		}
	}
	c.Indexes = append(c.Indexes, IndexUnits{name, global, units})
}

// Add adds what another request consumed on the same table, times factor.
func (c *Consumed) Add(other *Consumed, factor float64) {
	c.Table += factor * other.Table
	for _, x := range other.Indexes {
		c.AddIndex(x.Name, x.Global, factor*x.Units)
	}
}
