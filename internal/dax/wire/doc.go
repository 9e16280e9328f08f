// Package wire encodes and decodes the bytes of the DAX protocol: its profile of CBOR, attribute values, keys, items and expressions.
// It knows neither connections nor operations.
//
// AWS documents none of it; the package follows what AWS's public DAX clients write and read.
//
// A Skimmer finds where a message ends while its bytes arrive. A Reader then takes values from the complete message. Functions named
// Append add values to an answer.
//
// The bytes come from clients, so every function accepts any input: it returns an error for bytes without meaning, recurses within
// fixed bounds, and allocates at most a small multiple of its input.
package wire
