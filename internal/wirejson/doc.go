// Package wirejson reads and writes the JSON of AWS's JSON protocols without reflection and without building trees.
//
// The Reader is a pull parser over one request body. Strings without escapes are views of that body, so whatever is
// decoded lives only as long as the body does; who keeps something copies it. Two kinds of failure are told apart,
// because AWS answers them differently: a body that is not JSON (Malformed), and JSON whose types do not fit the
// shape (Mismatch, with the sentence that AWS's deserializer prints).
//
// Invariants:
//   - no input panics, and nesting is bounded by MaxDepth;
//   - time and memory are linear in the text: see Spend for what is decoded into lists, maps and structures;
//   - after the first error every method is a no-op, so generated code needs no error checks.
package wirejson
