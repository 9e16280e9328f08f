package expr

import (
	"sort"

	"github.com/statordb/stator/internal/attribute"
)

// pathTree is a set of paths without overlaps, sorted by name and index at each level.
type pathTree struct {
	step
	kids []*pathTree
	at   map[step]*pathTree // the kids, if there are more than scanned
	leaf bool
	edit *edit // of updates
}

// step is an element of a path whose placeholder is resolved.
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

// kid returns the node below t for a step, and makes it if it is missing.
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

// meets adds a path, and reports whether it overlaps or conflicts with one that was added before.
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

// next returns the node of the name among kids, which are sorted, and those behind it.
func next(kids []*pathTree, name []byte) (k *pathTree, rest []*pathTree) {
	for len(kids) > 0 && kids[0].name < string(name) {
		kids = kids[1:]
	}
	if len(kids) > 0 && kids[0].name == string(name) {
		return kids[0], kids[1:]
	}
	return nil, kids
}

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
