// Package mutate makes sequences of requests that are like those of real clients, and hardly wrong: each starts from a valid request
// against a small world of tables, streams, alarms, scaling targets and clusters, and is changed a little, within the shapes of AWS's
// model. At least half of them succeed, so that what lies behind the checks is reached.
//
//	source.go       where choices come from: a seed, or the bytes of a fuzz input
//	shapes.go       the shapes of all inputs and outputs, from the generated packages
//	operations.go   the table of operations, with how often each is called
//	items.go, expressions.go, statements.go, items_ops.go, batches_ops.go, tables_ops.go, services_ops.go   valid requests
//	change.go       changes of a request: names for other names, numbers at edges, members left out, added, repeated
//	protocols.go    JSON, AWS Query and CBOR
//	run.go          a run against a server: what it answers must be no 500, decode, and take bounded work
package mutate
