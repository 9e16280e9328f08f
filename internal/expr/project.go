package expr

import (
	"sort"

	"github.com/statordb/stator/internal/attribute"
)

// pathTree is a set of non-overlapping paths, as a tree of their steps. sort brings the kids of each node into the order of items: by name
// or by index.
type pathTree struct {
	step
	kids []*pathTree
	at   map[step]*pathTree // index of kids, if there are more than scanned
	// leaf marks the end of a path; edit is what an update does there.
	leaf bool
	edit *edit
}

// step is an element of a path with its placeholder resolved.
type step struct {
	name    string
	index   int
	isIndex bool
}

func (s *Scope) step(e PathElem) step {
	if e.IsIndex {
		return step{index: e.Index, isIndex: true}
	}
	return step{name: s.name(e.Name)}
}

// kid returns the node below t for a step, creating it if need be.
func (t *pathTree) kid(to step) *pathTree {
	if t.at != nil {
		if k := t.at[to]; k != nil {
			return k
		}
	} else {
		for _, k := range t.kids {
			if k.step == to {
				return k
			}
		}
	}
	k := &pathTree{step: to}
	t.kids = append(t.kids, k)
	switch {
	case t.at != nil:
		t.at[to] = k
	case len(t.kids) > scanned:
		t.at = make(map[step]*pathTree, 2*len(t.kids))
		for _, k := range t.kids {
			t.at[k.step] = k
		}
	}
	return k
}

// add inserts a path and returns its last node.
func (t *pathTree) add(s *Scope, p Path) *pathTree {
	for _, e := range p {
		t = t.kid(s.step(e))
	}
	t.leaf = true
	return t
}

// meets adds a path, and reports whether it overlaps or conflicts with an earlier one.
func (t *pathTree) meets(s *Scope, p Path) bool {
	for _, e := range p {
		to := s.step(e)
		if t.leaf || len(t.kids) > 0 && t.kids[0].isIndex != to.isIndex {
			return true
		}
		t = t.kid(to)
	}
	met := t.leaf || len(t.kids) > 0
	t.leaf = true
	return met
}

// sort sorts the whole tree.
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

// Projector reduces items to the paths of a projection.
type Projector struct{ root pathTree }

// NewProjector prepares a projection. The paths must have been bound.
func (s *Scope) NewProjector(paths []Path) *Projector {
	p := &Projector{}
	for _, path := range paths {
		p.root.add(s, path)
	}
	p.root.sort()
	return p
}

// Project returns the item's values at the paths, never nil. The remaining elements of a list move together.
func (p *Projector) Project(it attribute.Item) attribute.Item {
	var b attribute.Builder
	kids := p.root.kids
	for name, v := range it.Fields {
		var k *pathTree
		if k, kids = next(kids, name); k != nil {
			if v = k.project(v); v != nil {
				b.Add(name, v)
			}
		}
		if len(kids) == 0 {
			break
		}
	}
	return b.Item()
}

// next returns the node for a name among sorted kids, and the kids behind it. Names must ascend from call to call.
func next(kids []*pathTree, name []byte) (k *pathTree, rest []*pathTree) {
	for len(kids) > 0 && kids[0].name < string(name) {
		kids = kids[1:]
	}
	if len(kids) > 0 && kids[0].name == string(name) {
		return kids[0], kids[1:]
	}
	return nil, kids
}

// project returns the part of a value at the paths below t, or nil.
func (t *pathTree) project(v attribute.Value) attribute.Value {
	switch {
	case t.leaf:
		return v
	case t.kids[0].isIndex:
		return t.projectList(v)
	case v.Type() != attribute.TypeM:
		return nil
	}
	var fields []attribute.Field
	kids := t.kids
	for name, e := range v.Fields {
		var k *pathTree
		if k, kids = next(kids, name); k != nil {
			if e = k.project(e); e != nil {
				fields = append(fields, attribute.Field{Name: k.name, Value: e})
			}
		}
		if len(kids) == 0 {
			break
		}
	}
	if fields == nil {
		return nil
	}
	return attribute.NewMap(fields)
}

// projectList is project for lists.
func (t *pathTree) projectList(v attribute.Value) attribute.Value {
	if v.Type() != attribute.TypeL {
		return nil
	}
	var elems []attribute.Value
	kids, i := t.kids, 0
	for e := range v.Values {
		if kids[0].index == i {
			if e = kids[0].project(e); e != nil {
				elems = append(elems, e)
			}
			kids = kids[1:]
		}
		if i++; len(kids) == 0 {
			break
		}
	}
	if elems == nil {
		return nil
	}
	return attribute.NewList(elems)
}
