package policy

// Match is a statement that contributes to a decision.
type Match struct {
	Source Source
	// Index is the policy's place in Set.Identity or Set.Session; 0 for other sources.
	Index int
	// Start is the place of the statement's opening brace, End the one behind its closing brace.
	Start, End Position
}

// Simulation is a decision with its reasons ("SimulatePrincipalPolicy").
type Simulation struct {
	Decision
	// Matched are the statements that lead to the decision: those that deny or, without one, those that allow.
	Matched []Match
	// Missing are the condition keys, in lower case and sorted, that statements about the action refer to and the request does not have.
	Missing []string
}

// Simulate is Decide with reasons. It is slower, and always comes to the same decision.
func Simulate(r *Request, id *Identity, set Set) Simulation { return Simulation{} }
