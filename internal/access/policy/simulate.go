package policy

// Match is a statement that contributes to a decision.
type Match struct {
	Source Source
	Effect Effect
	// Index is the policy's place in Set.Identity or Set.Session; 0 for other sources.
	Index int
	// Start is the place of the statement's opening brace, End the one behind its closing brace.
	Start, End Position
}

// Simulation is a decision with its reasons ("SimulatePrincipalPolicy").
type Simulation struct {
	Decision
	// Matched are the statements that apply to the request: those that deny or, without any, those that allow. They are in the order of
	// the policies in Set, first identity, then boundary, session and resource.
	Matched []Match
	// Missing are the condition keys that statements about the action refer to and the request does not have, sorted and as written.
	Missing []string
	// ByBoundary is whether the permissions boundary allows the request. It is true without a boundary.
	ByBoundary bool
}

// Simulate is Decide with reasons. It is slower, and always comes to the same decision.
func Simulate(r *Request, id *Identity, set Set) Simulation {
	s := Simulation{Decision: Decide(r, id, set), ByBoundary: set.Boundary == nil || set.Boundary.Evaluate(r) == Allow}
	missing := keySet{}
	for i, d := range set.Identity {
		s.add(r, d, FromIdentity, i, missing)
	}
	s.add(r, set.Boundary, FromBoundary, 0, missing)
	for i, d := range set.Session {
		s.add(r, d, FromSession, i, missing)
	}
	s.add(r, set.Resource, FromResource, 0, missing)
	s.Missing = missing.names()
	effect := Allow
	if s.Explicit {
		effect = Deny
	}
	kept := s.Matched[:0]
	for _, m := range s.Matched {
		if m.Effect == effect {
			kept = append(kept, m)
		}
	}
	s.Matched = kept
	return s
}

// add adds the statements of a document that apply to the request, and the condition keys that the request lacks.
func (s *Simulation) add(r *Request, d *Document, from Source, index int, missing keySet) {
	if d == nil {
		return
	}
	for _, st := range d.statements {
		if !st.hasAction(r.Action) {
			continue
		}
		if st.applies(r) != notNamed {
			s.Matched = append(s.Matched, Match{from, st.effect, index, st.start, st.end})
		}
		st.keys(func(key, name string) {
			if _, ok := lookup(r.Context, key); !ok {
				missing.add(key, name)
			}
		})
	}
}
