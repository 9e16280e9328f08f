package expr

import (
	"sort"

	"github.com/statordb/stator/internal/attribute"
)

// pathTree is a set of paths without overlaps, sorted by name and index at each level.
type pathTree struct {
	name    string
	index   int
	isIndex bool
	kids    []*pathTree
	leaf    bool
	edit    *edit // of updates
}

// add inserts a path and returns its last node.
func (t *pathTree) add(s *Scope, p Path) *pathTree {
	for _, e := range p {
		name := ""
		if !e.IsIndex {
			name = s.name(e.Name)
		}
		var next *pathTree
		for _, k := range t.kids {
			if k.isIndex == e.IsIndex && k.index == e.Index && k.name == name {
				next = k
			}
		}
		if next == nil {
			next = &pathTree{name: name, index: e.Index, isIndex: e.IsIndex}
			t.kids = append(t.kids, next)
		}
		t = next
	}
	t.leaf = true
	return t
}

func (t *pathTree) sort() {
	sort.Slice(t.kids, func(i, j int) bool {
		if t.kids[i].isIndex {
			return t.kids[i].index < t.kids[j].index
		}
		return t.kids[i].name < t.kids[j].name
	})
	for _, k := range t.kids {
		k.sort()
	}
}

// Projector cuts items down to the paths of a projection.
type Projector struct{ root pathTree }

// NewProjector prepares the projection of the paths, which must have been bound.
func (s *Scope) NewProjector(paths []Path) *Projector {
	p := &Projector{}
	for _, path := range paths {
		p.root.add(s, path)
	}
	p.root.sort()
	return p
}

// Project returns what the item has at the paths; elements of lists close up. It never returns nil.
func (p *Projector) Project(it attribute.Item) attribute.Item {
	var b attribute.Builder
	for _, k := range p.root.kids {
		if v := it.Get(k.name); v != nil {
			if v = k.project(v); v != nil {
				b.Add([]byte(k.name), v)
			}
		}
	}
	return b.Item()
}

func (t *pathTree) project(v attribute.Value) attribute.Value {
	if t.leaf {
		return v
	}
	if t.kids[0].isIndex {
		if v.Type() != attribute.TypeL {
			return nil
		}
		var elems []attribute.Value
		for _, k := range t.kids {
			if e := v.Index(k.index); e != nil {
				if e = k.project(e); e != nil {
					elems = append(elems, e)
				}
			}
		}
		if elems == nil {
			return nil
		}
		return attribute.NewList(elems)
	}
	if v.Type() != attribute.TypeM {
		return nil
	}
	var fields []attribute.Field
	for _, k := range t.kids {
		if e := v.Get(k.name); e != nil {
			if e = k.project(e); e != nil {
				fields = append(fields, attribute.Field{Name: k.name, Value: e})
			}
		}
	}
	if fields == nil {
		return nil
	}
	return attribute.NewMap(fields)
}
