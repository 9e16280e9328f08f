// Package abuse attacks a real server, as malicious clients would, and checks the damage.
//
// Attacks is the table of all attacks. Each is a small function, grouped by the points of issue 20:
//
//	math.go        1   metric math that crashes the process
//	files.go       2   hostile import files
//	work.go        3   work before the signature is verified, lists and maps, gzip; deflate.go: gzip of nothing;
//	                   away.go: vanishing clients, SIGTERM
//	bodies.go      4   bodies that break off, and the budget of large ones
//	slow.go        5   slow bodies, headers and readers; many connections; answers.go: large answers, HTTP strangers
//	metrics.go     6   CloudWatch without a budget
//	daxconns.go    7   DAX connections of strangers
//	inputs.go      8   inputs answered with 500, checkpoints; wire.go: malformed HTTP
//	accounts.go    9   another account's resources
//	pages.go       10  web pages
//	signatures.go  11  SigV4
//	secrets.go     12  files, logs, metrics
//
// An attack runs against a Target: bin/stator with default flags, in a process of its own. Afterwards the server must be as before: alive,
// answering, below MaxMemory, without leftovers, and with all acknowledged items, also after a restart. The short form is the package's
// test; it counts work (CPU time, memory, files) rather than time. The long form is the command in cmd (`make abuse`): it runs each attack
// for some seconds beside a light client, and prints that client's latencies.
//
// target.go starts servers, usage.go measures them, call.go sends requests, light.go is the light client, measure.go the long form.
package abuse
