// Package node is the front end for clients of DynamoDB Accelerator: it speaks DAX's binary protocol, and answers from caches in front of
// the database as a DAX node does.
//
// A Service has what all nodes share: the operations, the attribute lists that clients know by ids, and the bounds on connections
// (gate.go) and on the memory of large requests (budget.go). A Node is a listener with caches of its own (package cache). A conn is one
// client, and answers its requests one after the other: conn.go reads them, methods.go lists the methods of the protocol, reads.go,
// batch_get.go, writes.go and transactions.go answer them, and responses.go encodes the answers.
//
// The caches hold encoded answers. Writes go through to the database and update the item cache. Nothing here reads or writes the
// database but through its operations, and every request for a table asks for the caller's permission first (table.go).
package node
