// Package capacity calculates what requests consume in capacity units. Package throttle decides how much they may consume.
//
// Sources: "Read consistency", "DynamoDB read and write operations", "Managing complex workflows with DynamoDB transactions" (section on
// capacity).
package capacity

import "math"

const (
	readUnit  = 4096 // bytes per read capacity unit
	writeUnit = 1024 // bytes per write capacity unit
)

// Read returns the read capacity units for size bytes. Eventually consistent reads cost half.
func Read(size int, consistent bool) float64 {
	units := math.Max(1, math.Ceil(float64(size)/readUnit))
	if consistent {
		return units
	}
	return units / 2
}

// Page returns the read capacity units for a page of Query or Scan: sizes are summed before rounding. A page without items costs as much
// as the smallest read.
func Page(size int, consistent bool) float64 { return Read(size, consistent) }

// Transactional is how many times as much a transaction consumes of tables. Of indexes it consumes as much as other requests.
const Transactional = 2

// TransactionalRead returns the read capacity units for size bytes in TransactGetItems.
func TransactionalRead(size int) float64 { return Transactional * Read(size, true) }

// ReplayedRead returns the read capacity units for one item of a transaction whose token was used before: AWS charges a transactional read of
// the larger of the item's images. units is what the write of the item consumes outside a transaction.
func ReplayedRead(units float64) float64 { return Transactional * math.Ceil(units*writeUnit/readUnit) }

// Write returns the write capacity units for an item that had oldSize bytes and now has newSize; 0 means no item.
func Write(oldSize, newSize int) float64 {
	return math.Max(1, math.Ceil(float64(max(oldSize, newSize))/writeUnit))
}

// IndexUnits is the consumption of a request on one index.
type IndexUnits struct {
	Name   string
	Global bool
	Units  float64
}

// Consumed is the consumption of a request on a table and its indexes, in capacity units.
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

// Add adds the consumption of another request on the same table. factor multiplies what the request consumes of the table itself.
func (c *Consumed) Add(other *Consumed, factor float64) {
	c.Table += factor * other.Table
	for _, x := range other.Indexes {
		c.AddIndex(x.Name, x.Global, x.Units)
	}
}
