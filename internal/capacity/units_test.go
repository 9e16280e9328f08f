package capacity

import (
	"fmt"
	"testing"
)

// TestUnits checks the examples and rules of "DynamoDB read and write operations".
func TestUnits(t *testing.T) {
	for _, c := range []struct {
		what string
		got  float64
		want float64
	}{
		{"a strongly consistent read of 4 KB", Read(4096, true), 1},
		{"a strongly consistent read of 4 KB and a byte", Read(4097, true), 2},
		{"an eventually consistent read of 4 KB", Read(4096, false), 0.5},
		{"an eventually consistent read of 8 KB", Read(8192, false), 1},
		{"a read of an item that doesn't exist", Read(0, true), 1},
		{"an eventually consistent read of an item that doesn't exist", Read(0, false), 0.5},
		{"a transactional read of 4 KB", TransactionalRead(4096), 2},
		{"a transactional read of 8 KB", TransactionalRead(8192), 4},
		{"a page of ten items of 400 bytes", Page(4000, true), 1},
		{"a page without items", Page(0, false), 0.5},
		{"a new item of 1 KB", Write(0, 1024), 1},
		{"a new item of 1 KB and a byte", Write(0, 1025), 2},
		{"an update that shrinks an item of 3 KB", Write(3072, 100), 3},
		{"an update that lets an item grow to 3 KB", Write(100, 3072), 3},
		{"deleting an item of 2 KB", Write(2048, 0), 2},
		{"deleting an item that doesn't exist", Write(0, 0), 1},
		{"a replayed transactional write of 1.5 KB", ReplayedRead(Write(0, 1500)), 2},
		{"a replayed transactional write of 4 KB", ReplayedRead(Write(0, 4096)), 2},
		{"a replayed transactional delete of 9 KB", ReplayedRead(Write(9000, 0)), 6},
	} {
		if c.got != c.want {
			t.Errorf("%s costs %v units, want %v", c.what, c.got, c.want)
		}
	}
}

// TestConsumed adds up requests.
func TestConsumed(t *testing.T) {
	var sum Consumed
	write := Consumed{Table: 2}
	write.AddIndex("g", true, 1)
	write.AddIndex("l", false, 3)
	write.AddIndex("g", true, 1)
	sum.Add(&write, 1)
	sum.Add(&write, Transactional)
	sum.Add(&Consumed{Table: 0.5}, 1)
	if got := fmt.Sprint(sum); got != "{6.5 [{g true 4} {l false 6}]}" || sum.Total() != 16.5 {
		t.Errorf("%s, total %v", got, sum.Total())
	}
	if got := fmt.Sprint(write); got != "{2 [{g true 2} {l false 3}]}" {
		t.Errorf("the first request has become %s", got)
	}
}
