package index

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy/smithytest"
	"github.com/statordb/stator/internal/wirejson"
)

// TestIndex runs the cases in testdata. Each file is independent and begins with a table.
//
// Commands:
//
//	table NAME=TYPE [NAME=TYPE]
//	INDEX global|local partition=NAME:TYPE,… [sort=NAME:TYPE,…] [keys-only] [include=NAME,…] [state=STATE]
//	…
//		defines the table's key (partition key, sort key) and its indexes, which project everything by default
//
//	plan
//	old ITEM
//	new ITEM
//		prints what Plan does to the entries of each index, and the write units; a missing line is a missing item
//
//	check
//	old ITEM
//	new ITEM
//		prints the first problem that Check finds
//
//	sort INDEX
//	ITEM
//	…
//		prints the entries in the order of their storage keys
//
// Items are in DynamoDB's JSON. <text*n> is n times the text.
func TestIndex(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var table *catalog.Table
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "table":
				table = newTable(t, d)
				return "ok\n"
			case "plan":
				return plan(table, item(t, d, "old"), item(t, d, "new"))
			case "check":
				return check(table, item(t, d, "old"), item(t, d, "new"))
			case "sort":
				return sorted(t, table, table.Index(d.CmdArgs[0].Key), d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// newTable returns the table that a command defines, as the catalog publishes it.
func newTable(t *testing.T, d *datadriven.TestData) *catalog.Table {
	table := &catalog.Table{Name: "table"}
	for i, arg := range d.CmdArgs {
		key := keyAttributes(t, d, arg.Key+":"+arg.Vals[0])
		if i == 0 {
			table.Key.Partition = key
		} else {
			table.Key.Sort = key
		}
	}
	for i, line := range lines(d) {
		words := strings.Fields(line)
		x := &catalog.Index{ID: uint8(i + 1), Name: words[0], Global: words[1] == "global", Projection: catalog.Projection{Type: "ALL"}}
		for _, word := range words[2:] {
			switch name, value, _ := strings.Cut(word, "="); name {
			case "partition":
				x.Key.Partition = keyAttributes(t, d, value)
			case "sort":
				x.Key.Sort = keyAttributes(t, d, value)
			case "keys-only":
				x.Projection.Type = "KEYS_ONLY"
			case "include":
				x.Projection = catalog.Projection{Type: "INCLUDE", Attributes: strings.Split(value, ",")}
			case "state":
				x.State = value
			default:
				d.Fatalf(t, "unknown setting %s", word)
			}
		}
		table.Indexes = append(table.Indexes, x)
	}
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	now := func() time.Time { return time.UnixMilli(1_000_000_000_000) }
	tables, err := catalog.Open(ctx, store, catalog.Options{Coordinator: cluster.NewSolo(ctx, nil), Now: now, Meters: metering.NewRegistry(now)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tables.Create(ctx, table); err != nil {
		t.Fatal(err)
	}
	return tables.Get(table.Namespace, table.Name)
}

var types = map[string]attribute.Type{"S": attribute.TypeS, "N": attribute.TypeN, "B": attribute.TypeB}

// keyAttributes parses NAME:TYPE,…
func keyAttributes(t *testing.T, d *datadriven.TestData, text string) (out []catalog.KeyAttribute) {
	for _, one := range strings.Split(text, ",") {
		name, typ, _ := strings.Cut(one, ":")
		if types[typ] == 0 {
			d.Fatalf(t, "key attribute %q has no type", one)
		}
		out = append(out, catalog.KeyAttribute{Name: name, Type: types[typ]})
	}
	return out
}

func lines(d *datadriven.TestData) []string {
	if d.Input == "" {
		return nil
	}
	return strings.Split(d.Input, "\n")
}

// item returns the item on the line that starts with a word; nil if there is no such line.
func item(t *testing.T, d *datadriven.TestData, word string) attribute.Item {
	for _, line := range lines(d) {
		if text, ok := strings.CutPrefix(line, word+" "); ok {
			return parse(t, d, text)
		}
	}
	return nil
}

// parse parses an item in DynamoDB's JSON.
func parse(t *testing.T, d *datadriven.TestData, text string) attribute.Item {
	text = smithytest.Expand(text)
	var r wirejson.Reader
	r.Reset([]byte(text))
	it := attribute.ReadItem(&r)
	if err := r.Err(); err != nil || !r.Done() {
		d.Fatalf(t, "%s: %v", text, err)
	}
	return it.Clone()
}

// render returns the item in DynamoDB's JSON, with long runs of a byte as <text*n>.
func render(it attribute.Item) string {
	return smithytest.Shorten(string(it.AppendJSON(nil)))
}

func plan(table *catalog.Table, before, after attribute.Item) string {
	var out strings.Builder
	for _, c := range Plan(nil, table, before, after) {
		fmt.Fprintf(&out, "%s %v ", c.Index.Name, c.Units)
		switch {
		case c.New == nil:
			fmt.Fprintf(&out, "remove %s\n", render(c.Old))
		case c.Old == nil:
			fmt.Fprintf(&out, "put %s\n", render(c.New))
		default:
			fmt.Fprintf(&out, "replace %s by %s\n", render(c.Old), render(c.New))
		}
	}
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

func check(table *catalog.Table, before, after attribute.Item) string {
	p := Check(table, before, after)
	if p == nil {
		return "ok\n"
	}
	key := "partition key"
	if p.Sort {
		key = "sort key"
	}
	out := fmt.Sprintf("%s: %s %s:%v", p.Index.Name, key, p.Attribute.Name, p.Attribute.Type)
	switch {
	case p.Actual != attribute.TypeNone:
		out += fmt.Sprintf(" is %v", p.Actual)
	case p.Empty:
		out += " is empty"
	case p.TooLarge:
		out += " is too large"
	}
	return out + "\n"
}

func sorted(t *testing.T, table *catalog.Table, x *catalog.Index, d *datadriven.TestData) string {
	type entry struct {
		key  []byte
		item attribute.Item
	}
	var entries []entry
	for _, line := range lines(d) {
		it := parse(t, d, line)
		key, ok := AppendKey(nil, table, x, it)
		if !ok {
			d.Fatalf(t, "no entry: %s", line)
		}
		entries = append(entries, entry{key, it})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	var out strings.Builder
	for i, e := range entries {
		if i > 0 && bytes.Equal(e.key, entries[i-1].key) {
			d.Fatalf(t, "two entries have one key: %s", render(e.item))
		}
		fmt.Fprintln(&out, render(e.item))
	}
	return out.String()
}
