package ops

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/expr"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/partiql"
)

// whereClause is what the WHERE and ORDER BY of a SELECT say about the keys of the table or index that it reads.
type whereClause struct {
	st     *statement
	index  *catalog.Index // nil for the table
	schema *catalog.KeySchema
	id     uint8
	// branches are the alternatives that OR and IN give.
	branches []keyBranch
	keyed    bool // all branches name a partition key
	reverse  bool // read from the last sort key to the first
}

// keyBranch has the conditions on keys that hold together in one alternative of a WHERE clause.
type keyBranch struct {
	partition attribute.Value // nil if the partition key is open
	never     bool            // the partition key must equal two values
	sort      []*expr.Node    // different conditions on the sort key that a Query supports
	// gaps means that a condition on the sort key is negated or <>.
	gaps bool
	key  kv.Range // of the branch
}

// maxBranches bounds the alternatives of a WHERE clause. With more, everything is read and filtered.
const maxBranches = 1000

// readWhere finds the conditions on keys.
func readWhere(st *statement, x *catalog.Index) *whereClause {
	w := &whereClause{st: st, index: x, schema: &st.table.Key}
	if x != nil {
		w.schema, w.id = &x.Key, x.ID
	}
	w.branches = []keyBranch{{}}
	if st.Where != nil {
		w.branches = w.alternatives(st.Where, false)
	}
	w.keyed = len(w.branches) <= maxBranches && !slices.ContainsFunc(w.branches, func(b keyBranch) bool { return b.partition == nil })
	return w
}

// partitionKey and sortKey are the key attributes. PartiQL reads no indexes with several of a kind.
func (w *whereClause) partitionKey() catalog.KeyAttribute { return w.schema.Partition[0] }
func (w *whereClause) sortKey() (a catalog.KeyAttribute, ok bool) {
	if len(w.schema.Sort) == 0 {
		return a, false
	}
	return w.schema.Sort[0], true
}

// alternatives returns the branches of a condition, or of its negation.
func (w *whereClause) alternatives(n *expr.Node, negated bool) []keyBranch {
	switch n.Op {
	case expr.OpNot:
		return w.alternatives(n.Args[0], !negated)
	case expr.OpAnd, expr.OpOr:
		left, right := w.alternatives(n.Args[0], negated), w.alternatives(n.Args[1], negated)
		if (n.Op == expr.OpOr) != negated {
			return either(left, right)
		}
		return both(left, right)
	case expr.OpIn:
		name, values, ok := partiql.Alternatives(n)
		if !ok || negated || !w.schema.Has(name) {
			break
		}
		out := make([]keyBranch, 0, len(values))
		for _, v := range values {
			equal := &expr.Node{Op: expr.OpEQ, Args: []*expr.Node{n.Args[0], {Op: expr.OpValue, Lit: v}}}
			out = append(out, w.condition(equal, false))
		}
		return out
	}
	return []keyBranch{w.condition(n, negated)}
}

// either joins the branches of OR. Conditions that say nothing about keys make one branch.
func either(a, b []keyBranch) []keyBranch {
	open := func(k keyBranch) bool { return k.partition == nil && k.sort == nil && !k.gaps }
	if len(a) == 1 && len(b) == 1 && open(a[0]) && open(b[0]) {
		return a
	}
	return append(slices.Clone(a), b...)
}

// both joins the branches of AND.
func both(a, b []keyBranch) []keyBranch {
	if len(a)*len(b) > maxBranches {
		return make([]keyBranch, maxBranches+1)
	}
	var out []keyBranch
	for _, l := range a {
		for _, r := range b {
			k := keyBranch{partition: l.partition, never: l.never || r.never, gaps: l.gaps || r.gaps, sort: slices.Clone(l.sort)}
			switch {
			case k.partition == nil:
				k.partition = r.partition
			case r.partition != nil && !k.partition.Equal(r.partition):
				k.never = true
			}
			for _, c := range r.sort {
				if !slices.ContainsFunc(k.sort, func(o *expr.Node) bool { return sameCondition(o, c) }) {
					k.sort = append(k.sort, c)
				}
			}
			out = append(out, k)
		}
	}
	return out
}

// sameCondition reports whether two conditions on one attribute are equal.
func sameCondition(a, b *expr.Node) bool {
	if a.Op != b.Op || len(a.Args) != len(b.Args) {
		return false
	}
	for i := range a.Args {
		if a.Args[i].Op != b.Args[i].Op || a.Args[i].Op == expr.OpValue && !a.Args[i].Lit.Equal(b.Args[i].Lit) {
			return false
		}
	}
	return true
}

// condition returns the branch of a single condition.
func (w *whereClause) condition(n *expr.Node, negated bool) keyBranch {
	sort, _ := w.sortKey()
	switch {
	case n.Op == expr.OpEQ && !negated && onKey(n, w.partitionKey().Name):
		_, values, _ := partiql.Alternatives(n)
		return keyBranch{partition: values[0]}
	case onKey(n, sort.Name) && !negated:
		return keyBranch{sort: []*expr.Node{n}}
	case onKey(n, sort.Name), (n.Op == expr.OpNE || n.Op == expr.OpIn) && isAbout(n, sort.Name):
		return keyBranch{gaps: true}
	}
	return keyBranch{}
}

// onKey reports whether n is a condition on the attribute name that a Query supports.
func onKey(n *expr.Node, name string) bool {
	switch n.Op {
	case expr.OpEQ, expr.OpLT, expr.OpLE, expr.OpGT, expr.OpGE, expr.OpBetween, expr.OpBeginsWith:
		return isAbout(n, name)
	}
	return false
}

// isAbout reports whether a condition is about the attribute name and, for the rest, values.
func isAbout(n *expr.Node, name string) bool {
	on, ok := partiql.KeyName(n)
	if !ok || on != name || name == "" {
		return false
	}
	values := 0
	for _, a := range n.Args {
		if a.Op == expr.OpValue {
			values++
		}
	}
	return values == len(n.Args)-1
}

// read returns the ranges of keys to read, in order; nil for the whole table or index.
func (w *whereClause) read() ([]kv.Range, error) {
	if err := w.checkOrder(); err != nil {
		return nil, err
	}
	if err := w.resolve(); err != nil {
		return nil, err
	}
	overlap, bounded := w.overlaps()
	if overlap {
		return nil, awserr.ValidationError(overlapping)
	}
	if err := w.order(); err != nil || !w.keyed {
		return nil, err
	}
	return w.ranges(bounded), nil
}

// overlapping is AWS's sentence for alternatives that name the same keys.
const overlapping = "Overlapping conditions with range keys are not supported in where clause"

// resolve checks the values of keys, and finds the branches' ranges. AWS checks up to the first branch that names no partition key.
func (w *whereClause) resolve() error {
	sort, _ := w.sortKey()
	for i := range w.branches {
		b := &w.branches[i]
		if b.partition == nil {
			return nil
		}
		conditions := []keyCondition{{w.partitionKey().Name, expr.OpEQ, []attribute.Value{b.partition}}}
		if err := checkKeyType(w.partitionKey(), b.partition); err != nil {
			return err
		}
		for j, n := range b.sort {
			c, err := readKeyExpression(w.st.scope, n)
			if err != nil {
				return err
			}
			for _, v := range c[0].args {
				if err := checkKeyType(sort, v); err != nil {
					return err
				}
			}
			if j == 0 {
				conditions = append(conditions, c...)
			}
		}
		selected, err := resolveKeyConditions(w.st.table, w.index, conditions)
		if tooLarge(err) && w.several() {
			// AWS refuses keys that are too large only where it reads one partition.
			if selected, err = resolveKeyConditions(w.st.table, w.index, conditions[:1]); tooLarge(err) {
				b.never = true
				continue
			}
		}
		if err != nil {
			return err
		}
		b.key = selected.Range
	}
	return nil
}

// several reports whether branches name different partitions.
func (w *whereClause) several() bool {
	return slices.ContainsFunc(w.branches, func(b keyBranch) bool {
		return b.partition != nil && w.branches[0].partition != nil && !b.partition.Equal(w.branches[0].partition)
	})
}

// tooLarge reports whether an error is about a key attribute that is too large.
func tooLarge(err error) bool {
	e, ok := errors.AsType[*awserr.Error](err)
	return ok && (e.Message == awserr.PartitionKeyTooLarge().Message || e.Message == awserr.SortKeyTooLarge().Message)
}

// overlaps reports whether two branches' ranges have keys in common. AWS doesn't look if the clause has a branch without a partition key, or one
// that doesn't limit the sort key to one range; bounded is then false.
func (w *whereClause) overlaps() (overlap, bounded bool) {
	if !w.keyed {
		return false, false
	}
	for _, b := range w.branches {
		if b.gaps || len(b.sort) > 1 {
			return false, false
		}
	}
	for i, b := range w.branches {
		for _, o := range w.branches[:i] {
			if !b.never && !o.never && bytes.Compare(b.key.Start, o.key.End) < 0 && bytes.Compare(o.key.Start, b.key.End) < 0 {
				return true, true
			}
		}
	}
	return false, true
}

// ranges returns the ranges to read, those of one partition in the order of their keys. If the branches are not bounded, several of them are
// read as whole partitions.
func (w *whereClause) ranges(bounded bool) []kv.Range {
	var read []keyBranch
	for _, b := range w.branches {
		if b.never {
			continue
		}
		if !bounded && len(w.branches) > 1 {
			if slices.ContainsFunc(read, func(o keyBranch) bool { return o.partition.Equal(b.partition) }) {
				continue
			}
			whole, err := resolveKeyConditions(w.st.table, w.index, []keyCondition{{w.partitionKey().Name, expr.OpEQ, []attribute.Value{b.partition}}})
			if err != nil {
				continue // can't happen: resolve has checked the value
			}
			b.key = whole.Range
		}
		read = append(read, b)
	}
	slices.SortStableFunc(read, func(a, b keyBranch) int {
		switch {
		case !a.partition.Equal(b.partition):
			return cmp.Compare(w.position(a), w.position(b))
		case w.reverse:
			return bytes.Compare(b.key.Start, a.key.Start)
		}
		return bytes.Compare(a.key.Start, b.key.Start)
	})
	out := make([]kv.Range, len(read))
	for i, b := range read {
		out[i] = b.key
	}
	return out
}

// position returns the index of the first branch with the same partition key.
func (w *whereClause) position(b keyBranch) int {
	return slices.IndexFunc(w.branches, func(o keyBranch) bool { return o.partition.Equal(b.partition) })
}

// checkOrder checks the names of ORDER BY.
func (w *whereClause) checkOrder() error {
	if len(w.st.Order) == 0 {
		return nil
	}
	if w.st.Where == nil {
		return awserr.ValidationError("Must have WHERE clause in the statement when using ORDER BY clause.")
	}
	for _, o := range w.st.Order {
		if !w.schema.Has(o.Name) {
			return awserr.ValidationError("Attribute " + o.Name + " in ORDER BY clause must be part of the primary key")
		}
	}
	return nil
}

// order applies ORDER BY: it sorts the branches by partition key, and finds the direction in which to read them.
func (w *whereClause) order() error {
	if len(w.st.Order) == 0 {
		return nil
	}
	if !w.keyed {
		return awserr.ValidationError("Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.")
	}
	sorted, descending := false, false
	for i, o := range w.st.Order {
		switch {
		case o.Name == w.partitionKey().Name:
			sorted, descending = true, o.Descending
			if i == 0 {
				w.reverse = o.Descending
			}
		default:
			w.reverse = o.Descending
		}
	}
	if !sorted && w.several() {
		return awserr.ValidationError("Must have hash key in ORDER BY clause when more than one hash key condition specified in WHERE clause.")
	}
	if sorted {
		slices.SortStableFunc(w.branches, func(a, b keyBranch) int {
			c, _ := attribute.Compare(a.partition, b.partition)
			if descending {
				return -c
			}
			return c
		})
	}
	return nil
}

// filter returns the function that keeps an item; nil keeps all. An index's entries are filtered as they are: what an index does not project is
// missing. AWS refuses that where the condition can't be met otherwise.
func (w *whereClause) filter() (func(attribute.Item) bool, error) {
	if w.st.Where == nil || w.complete() {
		return nil, nil
	}
	if w.index == nil || w.index.HoldsAll() {
		return func(it attribute.Item) bool { return w.st.matches(w.st.Where, it) }, nil
	}
	if missing := w.unprojected(w.st.Where, false, nil); w.keyed && missing != nil {
		return nil, awserr.Invalid("Secondary index " + w.index.Name + " does not project one or more filter attributes: [" + strings.Join(missing, ", ") + "]")
	}
	return func(it attribute.Item) bool { return w.st.matches(w.st.Where, w.entry(it)) }, nil
}

// complete reports whether the range to read has exactly what the clause allows.
func (w *whereClause) complete() bool {
	if !w.keyed || len(w.branches) > 1 || w.branches[0].gaps || len(w.branches[0].sort) > 1 {
		return false
	}
	sort, _ := w.sortKey()
	for _, n := range partiql.Conjuncts(w.st.Where) {
		if !onKey(n, sort.Name) && !(n.Op == expr.OpEQ && onKey(n, w.partitionKey().Name)) {
			return false
		}
	}
	return true
}

// entry returns what the index holds of an item.
func (w *whereClause) entry(it attribute.Item) attribute.Item {
	var fields []attribute.Field
	for name, v := range it.Fields {
		if w.index.Holds(string(name)) {
			fields = append(fields, attribute.Field{Name: string(name), Value: v})
		}
	}
	return attribute.NewItem(fields...)
}

// unprojected appends the attributes that the index does not project in conditions that all must hold.
func (w *whereClause) unprojected(n *expr.Node, negated bool, names []string) []string {
	switch {
	case n.Op == expr.OpNot:
		return w.unprojected(n.Args[0], !negated, names)
	case n.Op == expr.OpAnd && !negated, n.Op == expr.OpOr && negated:
		return w.unprojected(n.Args[1], negated, w.unprojected(n.Args[0], negated, names))
	case n.Op == expr.OpAnd, n.Op == expr.OpOr:
		return names
	}
	w.st.scope.Attributes(n, func(name string, _ expr.Path) bool {
		if !w.index.Holds(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return true
	})
	return names
}
