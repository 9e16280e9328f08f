// Package wire is the bytes of the DAX protocol: its profile of CBOR, attribute values, keys, items and expressions. It knows
// neither connections nor operations.
//
// AWS documents none of it; what is here is how the public DAX clients write and read. docs/architecture.md says how it was
// found out.
//
// Bytes come from clients, so every function takes any bytes: it returns an error for those that mean nothing, recurses only as
// deep as its bounds say, and allocates no more than a small multiple of what it was given.
package wire
