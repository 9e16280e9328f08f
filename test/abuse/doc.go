// Package abuse attacks a real server, as clients that mean harm would, and says what became of it.
//
// Attacks is the table of all attacks, each a small function beside the others of its point of issue 20:
//
//	math.go        1   metric math that ends the process
//	files.go       2   hostile import files
//	work.go        3   work before the signature, lists and maps, gzip; deflate.go: gzip of nothing; away.go: clients that go away, SIGTERM
//	bodies.go      4   broken-off bodies and the budget of large ones
//	slow.go        5   slow bodies, headers and readers; many connections; answers.go: large answers, HTTP strangers
//	metrics.go     6   CloudWatch without a budget
//	daxconns.go    7   DAX connections of strangers
//	inputs.go      8   answers of 500, checkpoints; wire.go: HTTP that is hardly HTTP
//	accounts.go    9   the resources of another account
//	pages.go       10  web pages
//	signatures.go  11  SigV4
//	secrets.go     12  files, logs, metrics
//
// An attack runs against a Target: bin/stator with default flags in a process of its own. Run starts the target, runs the attack and
// looks whether the server is as it was before: alive, answering, below MaxMemory, without leftovers, with all acknowledged items,
// also after a restart. The short form is the package's test, which counts work (CPU time, memory, files) and not time. The long form
// is the command in cmd (`make abuse`): each attack for some seconds beside a light client, whose latencies it prints.
// target.go starts servers, usage.go says what they hold, call.go sends requests, light.go is the light client, measure.go the long form.
package abuse
