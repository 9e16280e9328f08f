// Package wirejson reads and writes the JSON of AWS's JSON protocols without reflection and without building trees.
//
// The Reader is a pull parser over one request body. Strings without escapes are views of that body, so decoded values live only as long
// as the body: copy what must outlive it. There are two kinds of failure, because AWS answers them differently: a body that isn't JSON
// (Malformed), and JSON whose types don't fit the shape (Mismatch, with the sentence of AWS's deserializer).
//
// Invariants:
//   - no input panics, and nesting is bounded by MaxDepth;
//   - time and memory are linear in the text: Spend bounds what is decoded into lists, maps and structures;
//   - after the first error every method is a no-op, so generated code needs no error checks.
package wirejson
