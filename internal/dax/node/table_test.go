package node

import (
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/ops"
)

// TestCacheKeys checks that items have equal cache keys exactly if they are the same item of the same table.
func TestCacheKeys(t *testing.T) {
	table := func(id uint32, sort string) *table {
		return &table{TableIdentity: ops.TableIdentity{ID: id, PartitionKey: ops.KeyAttribute{Name: "pk"}, SortKey: ops.KeyAttribute{Name: sort}}}
	}
	item := func(partition, sort attribute.Value) attribute.Item {
		return attribute.NewItem(
			attribute.Field{Name: "data", Value: attribute.String("x")}, attribute.Field{Name: "pk", Value: partition},
			attribute.Field{Name: "sk", Value: sort},
		)
	}
	keys := map[string]int{}
	for i, key := range [][]byte{
		table(1, "").appendItemKey(nil, item(attribute.String("a"), attribute.String("b"))),
		table(2, "").appendItemKey(nil, item(attribute.String("a"), attribute.String("b"))),
		table(1, "sk").appendItemKey(nil, item(attribute.String("a"), attribute.String("b"))),
		table(1, "sk").appendItemKey(nil, item(attribute.String("ab"), attribute.String(""))),
		table(1, "sk").appendItemKey(nil, item(attribute.String(""), attribute.String("ab"))),
		table(1, "sk").appendItemKey(nil, item(attribute.Number("1"), attribute.Binary([]byte("b")))),
	} {
		if other, taken := keys[string(key)]; taken {
			t.Errorf("the items %d and %d have the same key", other, i)
		}
		keys[string(key)] = i
	}
	one := table(1, "sk").appendItemKey(nil, item(attribute.String("a"), attribute.Number("10")))
	only := attribute.NewItem(
		attribute.Field{Name: "pk", Value: attribute.String("a")}, attribute.Field{Name: "sk", Value: attribute.Number("1e1")},
	)
	if same := table(1, "sk").appendItemKey([]byte("x"), only); string(same) != "x"+string(one) {
		t.Errorf("the keys are %x and %x", one, same)
	}
}
