// Package mutate generates sequences of requests like those of real clients, and almost correct: each starts from a valid request against a
// small world of tables, streams, alarms, scaling targets and clusters, and is changed a little, within the shapes of AWS's model. At least
// half of them succeed, so that they reach the code behind the checks.
//
//	source.go       the source of random choices: a seed, or the bytes of a fuzz input
//	shapes.go       the shapes of all inputs and outputs, from the generated packages
//	operations.go   the table of operations, with their frequencies
//	items.go, expressions.go, statements.go, items_ops.go, batches_ops.go, tables_ops.go, services_ops.go
//	                valid requests
//	change.go       changes: names for other names, numbers at limits, members left out, added, repeated
//	protocols.go    JSON, AWS Query and CBOR
//	run.go          a run against a server: answers must not be a 500, must decode, and must take bounded work
package mutate
