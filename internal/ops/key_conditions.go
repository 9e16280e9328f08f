package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
)

// keyCondition is a condition on one key attribute.
type keyCondition struct {
	name string
	op   expr.Op
	args []attribute.Value
}

// lowerKeyConditions converts the legacy parameter KeyConditions.
func lowerKeyConditions(in smithy.Map[api.Condition]) ([]keyCondition, error) {
	switch {
	case len(in) == 0:
		return nil, awserr.ValidationError("Conditions must be at least length 1")
	case len(in) > 8:
		return nil, awserr.ValidationError("Conditions can be of length 1 or 2 only")
	}
	var out []keyCondition
	for i := range in {
		c := &in[i].Value
		op := c.ComparisonOperator.Value
		if err := checkComparison(op, c.AttributeValueList); err != nil {
			return nil, err
		}
		switch legacyOps[op] {
		case expr.OpEQ, expr.OpLT, expr.OpLE, expr.OpGT, expr.OpGE, expr.OpBetween, expr.OpBeginsWith:
		default:
			return nil, awserr.ValidationError("Attempted conditional constraint is not an indexable operation")
		}
		out = append(out, keyCondition{in[i].Key, legacyOps[op], c.AttributeValueList})
	}
	return out, nil
}

func keyExpressionError(sentence string) error {
	return awserr.InvalidExpression("KeyConditionExpression", sentence)
}

// readKeyExpression converts a bound key condition expression, a conjunction of comparisons.
func readKeyExpression(s *expr.Scope, n *expr.Node) ([]keyCondition, error) {
	switch n.Op {
	case expr.OpAnd:
		left, err := readKeyExpression(s, n.Args[0])
		if err != nil {
			return nil, err
		}
		right, err := readKeyExpression(s, n.Args[1])
		if err != nil {
			return nil, err
		}
		for _, r := range right {
			for _, l := range left {
				if l.name == r.name {
					return nil, keyExpressionError("KeyConditionExpressions must only contain one condition per key")
				}
			}
		}
		return append(left, right...), nil
	case expr.OpEQ, expr.OpLT, expr.OpLE, expr.OpGT, expr.OpGE, expr.OpBetween, expr.OpBeginsWith:
	default:
		return nil, keyExpressionError("Invalid operator used in KeyConditionExpression: " + n.Op.String())
	}
	c := keyCondition{op: n.Op}
	at := -1
	for i, a := range n.Args {
		switch a.Op {
		case expr.OpPath:
			if at >= 0 {
				return nil, keyExpressionError("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
			}
			at = i
			c.name = s.First(a.Path)
			if len(a.Path) > 1 {
				return nil, keyExpressionError("KeyConditionExpressions cannot have conditions on nested attributes")
			}
		case expr.OpValue:
			c.args = append(c.args, s.Value(a))
		default:
			return nil, keyExpressionError("KeyConditionExpressions cannot contain nested operations")
		}
	}
	switch {
	case at < 0:
		return nil, keyExpressionError("Invalid condition in KeyConditionExpression: No key attribute specified")
	case at > 0 && (n.Op == expr.OpBetween || n.Op == expr.OpBeginsWith):
		return nil, keyExpressionError("Invalid condition in KeyConditionExpression: " + n.Op.String() + " operator must have the key attribute as its first operand")
	case at > 0:
		c.op = mirrored[n.Op]
	}
	return []keyCondition{c}, nil
}

// mirrored maps each comparison operator to its equivalent with the operands swapped.
var mirrored = map[expr.Op]expr.Op{
	expr.OpEQ: expr.OpEQ, expr.OpLT: expr.OpGT, expr.OpLE: expr.OpGE, expr.OpGT: expr.OpLT, expr.OpGE: expr.OpLE,
}

// keyRange is the range of storage keys that key conditions select.
type keyRange struct {
	kv.Range
	partition kv.Range // everything with the same partition key
}

// resolveKeyConditions converts conditions on the key of a table or index to a range of storage keys. Every partition key
// attribute needs an equality. On the sort key attributes, in their order, there may be equalities followed by at most one
// other comparison.
func resolveKeyConditions(t *catalog.Table, x *catalog.Index, conditions []keyCondition) (keyRange, error) {
	schema, id := &t.Key, uint8(0)
	if x != nil {
		schema, id = &x.Key, x.ID
	}
	find := func(name string) *keyCondition {
		for i := range conditions {
			if conditions[i].name == name {
				return &conditions[i]
			}
		}
		return nil
	}
	if n := schema.Len(); len(conditions) > n {
		return keyRange{}, awserr.QueryConditions(len(conditions), n)
	}
	var partition []byte
	for _, a := range schema.Partition {
		c := find(a.Name)
		if c == nil {
			return keyRange{}, awserr.QueryMissesKey(a.Name)
		}
		if c.op != expr.OpEQ {
			return keyRange{}, awserr.QueryUnsupported()
		}
		if err := checkConditionValues(c, a, index.MaxPartitionKey); err != nil {
			return keyRange{}, err
		}
		partition = keyspace.AppendValue(partition, c.args[0])
	}
	prefix := t.AppendPartition(nil, id, partition)
	out := keyRange{partition: kv.Prefix(prefix)}
	out.Range = out.partition
	used := len(schema.Partition)
	var gap []string // the sort key attributes so far that have no equality
	for _, a := range schema.Sort {
		c := find(a.Name)
		if c == nil {
			gap = append(gap, a.Name)
			continue
		}
		if gap != nil {
			return keyRange{}, awserr.QueryGap(gap, a.Name)
		}
		used++
		if err := checkConditionValues(c, a, index.MaxSortKey); err != nil {
			return keyRange{}, err
		}
		out.Range = sortRange(prefix, out.Range, c)
		if c.op == expr.OpEQ {
			prefix = keyspace.AppendValue(prefix, c.args[0])
		} else {
			gap = append(gap, a.Name)
		}
	}
	if used < len(conditions) {
		name := schema.Partition[0].Name
		if len(schema.Sort) > 0 {
			name = schema.Sort[0].Name
		}
		return keyRange{}, awserr.QueryMissesKey(name)
	}
	return out, nil
}

// checkConditionValues checks the type and size of a condition's values; limit is in bytes.
func checkConditionValues(c *keyCondition, a catalog.KeyAttribute, limit int) error {
	for _, v := range c.args {
		if v.Type() != a.Type {
			return awserr.ConditionType()
		}
		if a.Type == attribute.TypeN {
			continue
		}
		n := len(v.Bytes())
		if n == 0 {
			return awserr.EmptyKey(a.Name, emptyKind(a.Type))
		}
		if n > limit {
			if limit == index.MaxPartitionKey {
				return awserr.PartitionKeyTooLarge()
			}
			return awserr.SortKeyTooLarge()
		}
	}
	return nil
}

// sortRange narrows the range of a prefix to a condition on the key attribute that follows the prefix.
func sortRange(prefix []byte, all kv.Range, c *keyCondition) kv.Range {
	at := func(v attribute.Value) []byte {
		return keyspace.AppendValue(append([]byte(nil), prefix...), v)
	}
	switch c.op {
	case expr.OpEQ:
		return kv.Prefix(at(c.args[0]))
	case expr.OpLT:
		return kv.Range{Start: all.Start, End: at(c.args[0])}
	case expr.OpLE:
		return kv.Range{Start: all.Start, End: kv.PrefixEnd(at(c.args[0]))}
	case expr.OpGT:
		return kv.Range{Start: kv.PrefixEnd(at(c.args[0])), End: all.End}
	case expr.OpGE:
		return kv.Range{Start: at(c.args[0]), End: all.End}
	case expr.OpBetween:
		return kv.Range{Start: at(c.args[0]), End: kv.PrefixEnd(at(c.args[1]))}
	default: // begins_with
		return kv.Prefix(keyspace.AppendValuePrefix(append([]byte(nil), prefix...), c.args[0].Bytes()))
	}
}
