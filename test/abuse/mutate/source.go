package mutate

import "math/rand/v2"

// Source is a source of choices.
type Source struct {
	program []byte     // bytes of a fuzz input
	random  *rand.Rand // generator of a seed, if there is no program
	left    int        // requests that the seed still generates
}

// Seed returns a source for the given number of requests. The same seed generates the same requests.
func Seed(seed uint64, requests int) *Source {
	return &Source{random: rand.New(rand.NewPCG(seed, seed)), left: requests}
}

// Program returns a source whose choices are the bytes of a fuzz input. It is exhausted with them.
func Program(b []byte) *Source { return &Source{program: b} }

// more reports whether to generate another request.
func (s *Source) more() bool {
	if s.random == nil {
		return len(s.program) > 0
	}
	s.left--
	return s.left >= 0
}

// n returns a number from 0 to max-1.
func (s *Source) n(max int) int {
	if s.random != nil {
		return s.random.IntN(max)
	}
	v := 0
	for size := max - 1; size > 0; size >>= 8 {
		if len(s.program) == 0 {
			break // the choices for the rest of the request are zeros
		}
		v = v<<8 | int(s.program[0])
		s.program = s.program[1:]
	}
	return v % max
}

// one returns true once in the given number of calls, on average.
func (s *Source) one(in int) bool { return s.n(in) == in-1 }

// pick returns one of the elements.
func pick[T any](s *Source, list ...T) T { return list[s.n(len(list))] }
