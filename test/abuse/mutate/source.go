package mutate

import "math/rand/v2"

// Source is where choices come from.
type Source struct {
	program []byte     // of a fuzz input
	random  *rand.Rand // of a seed, without a program
	left    int        // how many requests a seed makes
}

// Seed returns a source of so many requests, which are the same for the same seed.
func Seed(seed uint64, requests int) *Source {
	return &Source{random: rand.New(rand.NewPCG(seed, seed)), left: requests}
}

// Program returns a source whose choices are the bytes of a fuzz input, and that ends with them.
func Program(b []byte) *Source { return &Source{program: b} }

// more reports whether another request is to be made.
func (s *Source) more() bool {
	if s.random == nil {
		return len(s.program) > 0
	}
	s.left--
	return s.left >= 0
}

// n returns a number from 0 to below max.
func (s *Source) n(max int) int {
	if s.random != nil {
		return s.random.IntN(max)
	}
	v := 0
	for size := max - 1; size > 0; size >>= 8 {
		if len(s.program) == 0 {
			break // the rest of the request is made of zeros
		}
		v = v<<8 | int(s.program[0])
		s.program = s.program[1:]
	}
	return v % max
}

// one is true once in so many times.
func (s *Source) one(in int) bool { return s.n(in) == in-1 }

// pick returns an element.
func pick[T any](s *Source, list ...T) T { return list[s.n(len(list))] }
