package mutate

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
)

// Report is the outcome of a run.
type Report struct {
	Taken, Refused int
	// Operations are the numbers of requests that succeeded and that were refused, by target.
	Operations map[string][2]int
	// Failures are answers with status 500, answers that don't decode, too much work, and missing answers, each with the preceding
	// requests.
	Failures []string
}

// String returns the report's numbers.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests taken, %d refused", r.Taken, r.Refused)
	for _, name := range slices.Sorted(maps.Keys(r.Operations)) {
		n := r.Operations[name]
		fmt.Fprintf(&b, "\n%s: %d taken, %d refused", name, n[0], n[1])
	}
	return b.String()
}

// Bounds of one request. Work is counted in bytes allocated by this process, which also runs the server.
const (
	maxAllocated = 256 << 20
	// hangs is when a request is given up. Answers take less than a thousandth of it.
	hangs = 2 * time.Minute
	// maxFailures ends a run.
	maxFailures = 5
	// maxHistory is the number of preceding requests that a failure shows.
	maxHistory = 15
)

// Run sends requests to the server at the endpoint, which runs in this process, until the source is exhausted. It creates a world first.
func Run(endpoint string, src *Source, report *Report) {
	r := &run{gen: gen{Source: src, w: newWorld()}, endpoint: endpoint, report: report, client: &http.Client{Timeout: hangs, Transport: &http.Transport{DisableCompression: true}}}
	defer r.client.CloseIdleConnections()
	for _, q := range beginnings() {
		if status := r.send(find(q.target), q); status != http.StatusOK && status != 0 {
			report.Failures = append(report.Failures, fmt.Sprintf("the world: %d at %v", status, q))
		}
	}
	report.Taken, report.Refused, report.Operations = 0, 0, map[string][2]int{}
	for src.more() && len(report.Failures) < maxFailures {
		r.step()
	}
}

func find(target string) *operation {
	for i := range operations {
		if operations[i].target == target {
			return &operations[i]
		}
	}
	panic("mutate: no operation " + target)
}

type run struct {
	gen
	endpoint string
	client   *http.Client
	report   *Report
	history  []string
}

// step sends one request.
func (r *run) step() {
	if r.one(80) {
		r.advance()
		return
	}
	op := byWeight[r.n(len(byWeight))]
	r.begin()
	q := request{target: op.target, body: op.make(&r.gen)}
	if r.one(3) {
		q.body = r.change(op, q.body)
	}
	if strings.HasPrefix(op.target, "Granite") {
		q.protocol = pick(r.Source, "", "query", "cbor")
	}
	r.send(op, q)
}

// send sends a request, and checks its work and its answer. It returns the status, or 0 for a failure.
func (r *run) send(op *operation, q request) int {
	r.remember(q.String()) // before sending, so that a failure lists this request, too
	before := allocated()
	status, body, err := r.exchange(q)
	if err != nil {
		r.fail("no answer: %v", err)
		return 0
	}
	if more := allocated() - before; more > maxAllocated {
		r.fail("%d MiB are allocated", more>>20)
	}
	answer, err := q.decode(body)
	if err != nil {
		r.fail("status %d, an answer that does not decode: %v: %q", status, err, body)
		return 0
	}
	counts := r.report.Operations[q.target]
	switch {
	case status == http.StatusOK:
		r.report.Taken++
		counts[0]++
		if answer != nil {
			if err := conforms(op.out, answer, "answer"); err != nil {
				r.fail("%v: %s", err, body)
			}
			r.w.learn(answer)
			r.w.learnPage(q.body, answer)
		}
		// Names that a successful request contains exist now. Later requests use them.
		r.w.learn(clone(q.body))
	case status >= 500:
		r.fail("status %d: %s", status, body)
		return 0
	default:
		r.report.Refused++
		counts[1]++
	}
	if r.report.Operations != nil {
		r.report.Operations[q.target] = counts
	}
	if Trace != nil {
		Trace(status, q.String(), body)
	}
	return status
}

// Trace, if set, is called with every request and answer. It helps to find out why requests are refused.
var Trace func(status int, request string, answer []byte)

func (r *run) exchange(q request) (int, []byte, error) {
	req, err := q.http(r.endpoint)
	if err != nil {
		return 0, nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// advance advances the server's clock: alarms are evaluated, tables scaled, and expired items deleted.
func (r *run) advance() {
	by := pick(r.Source, "1s", "1m", "1m", "5m", "5m", "1h", "2h")
	r.remember("the clock goes on by " + by)
	res, err := r.client.Post(r.endpoint+"/_stator/clock", "application/json", strings.NewReader(`{"advance":"`+by+`"}`))
	if err != nil {
		r.fail("no answer: %v", err)
		return
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		r.fail("the clock: %d %s %v", res.StatusCode, body, err)
	}
}

func (r *run) remember(line string) {
	r.history = append(r.history, line)
	if len(r.history) > maxHistory {
		r.history = r.history[1:]
	}
}

func (r *run) fail(format string, args ...any) {
	r.report.Failures = append(r.report.Failures, fmt.Sprintf(format, args...)+"\nThe last requests were\n"+strings.Join(r.history, "\n"))
}

// allocated returns how many bytes this process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
